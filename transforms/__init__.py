"""Beam transforms and DoFns over plain functions."""
