#!/bin/sh
# $1 is "remove", "purge" or "upgrade" for dpkg, and a number for rpm.
set -e

if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
# A purge takes what the package made: the store with its key, the backups and the
# account. A removal leaves all of that.
if [ "$1" = purge ]; then
    rm -rf /var/lib/gatehouse /var/lib/gatehouse-backup /etc/gatehouse
    if getent passwd gatehouse >/dev/null; then
        userdel gatehouse
    fi
fi
