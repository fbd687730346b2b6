"""Data only: model configurations in Spleeter's JSON form and runner presets."""
