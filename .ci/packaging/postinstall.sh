#!/bin/sh
# $1 is "configure" for dpkg, and for rpm how many of the package are installed now.
set -e

if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers /usr/lib/sysusers.d/gatehouse.conf
elif ! getent passwd gatehouse >/dev/null; then
    useradd --system --user-group --home-dir /var/lib/gatehouse --no-create-home --shell /usr/sbin/nologin gatehouse
fi
# The configuration may name secrets, which only the service may read.
chown root:gatehouse /etc/gatehouse
chmod 0750 /etc/gatehouse

# Nothing is started here: the administrator decides where it listens.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    # After an upgrade, a running server is restarted with the new program. If that fails,
    # the package is installed all the same: otherwise apt would do nothing else until the
    # server runs.
    if [ -n "$2" ] || [ "$1" = 2 ]; then
        systemctl try-restart gatehouse.service ||
            echo "gatehouse does not start: journalctl -u gatehouse says why" >&2
    fi
fi
