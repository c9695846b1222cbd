#!/bin/sh
# First process of a node. It is started in fresh mount, PID, UTS and IPC namespaces and in the node's network
# namespace; it gives the node a view of the machine that is its own, says so by the file `ready`, and then does nothing
# but collect orphans. containerd, the kubelet and the rest are put beside it from outside.
# usage: init.sh NAME DISK PAUSE      (DISK: the node's folder, PAUSE: the program to end as)
set -eu
name=$1 disk=$2 pause=$3

echo "$name" >/proc/sys/kernel/hostname
mount -t proc proc /proc

# A router for its pods; replies may come back by another way than the one the kernel would choose.
echo 1 >/proc/sys/net/ipv4/ip_forward
echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
echo 0 >/proc/sys/net/ipv4/conf/default/rp_filter

# The kubelet insists on some settings of the whole machine, panic_on_oops among them. Files that already hold the wanted
# values are laid over the real ones, in this mount namespace only: the kubelet is content and the machine untouched.
pretend() {
  mkdir -p "$disk/settings/${1%/*}"
  echo "$2" >"$disk/settings/$1"
  mount --bind "$disk/settings/$1" "/proc/sys/$1"
}
pretend vm/overcommit_memory 1
pretend vm/panic_on_oom 0
pretend kernel/panic 10
pretend kernel/panic_on_oops 1
pretend kernel/keys/root_maxkeys 1000000
pretend kernel/keys/root_maxbytes 25000000

# sysfs shows the network interfaces of whoever mounts it, so it has to be mounted anew; the cgroup trees move over.
mkdir -p "$disk/cgroup"
mount --move /sys/fs/cgroup "$disk/cgroup"
mount -t sysfs sysfs /sys
mount --move "$disk/cgroup" /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf

mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/netns /run/lock
own() {
  mkdir -p "$disk/disk$1" "$1"
  mount --bind "$disk/disk$1" "$1"
}
own /var/lib/containerd
own /var/lib/kubelet
own /var/lib/cni
own /var/log/pods
own /var/log/containers
own /etc/cni/net.d
cp "$disk/cni.conflist" /etc/cni/net.d/10-pods.conflist

# Pods with Bidirectional mounts (agents that pin maps) need a shared tree.
mount --make-rshared /

: >"$disk/ready"
exec "$pause"
