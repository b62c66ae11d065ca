# What the test hosts are made of. Sourced by build-image and build-packages; a change here makes new ones.
# shellcheck shell=bash disable=SC2034
image_packages="systemd systemd-sysv dbus python3 python3-apt iproute2 sudo ca-certificates openssh-server procps"
# What the roles install; the hosts find these, with all they need, in a local repository instead of the internet.
role_packages="nginx-light nftables ufw python3-venv openssl logrotate chrony coturn certbot xvfb xauth prometheus python3-pymongo"
