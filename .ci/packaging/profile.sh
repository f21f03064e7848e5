# For root, gatehouse's commands mean the service of this host.
if [ "$(id -u)" = 0 ]; then
    export GATEHOUSE_DATA="${GATEHOUSE_DATA:-/var/lib/gatehouse}"
    export GATEHOUSE_CONFIG="${GATEHOUSE_CONFIG:-/etc/gatehouse/config.toml}"
fi
