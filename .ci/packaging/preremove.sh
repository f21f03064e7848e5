#!/bin/sh
# $1 is "remove" or "upgrade" for dpkg, and for rpm how many of the package stay.
set -e

case "$1" in
remove | 0)
    if [ -d /run/systemd/system ]; then
        systemctl disable --now gatehouse.service gatehouse-backup.timer
        systemctl stop gatehouse-backup.service
    fi
    ;;
esac
