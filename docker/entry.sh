#!/bin/sh
# One image, two uses. A Beam runner starts a worker with the flags of Beam's boot program (--id=1-1 ...): they go to it.
# Everything else is a command of stembeam: separate ..., doctor, --help.
set -eu

boot=${STEMBEAM_BOOT:-/opt/apache/beam/boot}

case ${1-} in
    '' | -h | --help | --version | [!-]*) exec stembeam "$@" ;;
esac

# Dataflow names a folder that it has mounted and that only root may write. Of a flag that comes twice the last one counts.
folder=/tmp
wants_value=
for word in "$@"; do
    if [ -n "$wants_value" ]; then
        folder=$word
        wants_value=
    fi
    case $word in
        --semi_persist_dir=* | -semi_persist_dir=*) folder=${word#*=} ;;
        --semi_persist_dir | -semi_persist_dir) wants_value=1 ;;
    esac
done
if ! { [ -d "$folder" ] && [ -w "$folder" ]; }; then
    echo "stembeam: $folder cannot be written by user $(id -u): the worker keeps its staged files in /tmp" >&2
    set -- "$@" --semi_persist_dir=/tmp
fi
exec "$boot" "$@"
