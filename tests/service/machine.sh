#!/bin/sh
# A machine to try things on that change one: it has all files of this one, and what it changes is in memory and gone with it.
# It has namespaces of its own, so no mount, process or host name of it is seen outside, and none survives it.
#
#   machine.sh run SOURCE BUILD FILES     FILES/script is run, with its output and exit status
#   machine.sh boot SOURCE BUILD FILES    FILES/before is run; then systemd is process 1, and the script a service of it that
#                                         writes to FILES/output
#
# In there SOURCE is /src, BUILD, the directory of the program, is /build, and FILES is /files.
set -eu
case $1 in
    run | boot) exec unshare --mount --propagation private sh "$0" outside "$@" ;;
    outside)
        # A control group of its own; what the machine leaves in it is gone with process 1.
        shift
        mount -t cgroup2 none /mnt
        group=$(mktemp -d /mnt/owltmp-test-XXXXXX)
        chmod 755 "$group"
        status=0
        # shellcheck disable=SC2016  # it is the inner shell's $0
        sh -c 'echo 0 > "$0/cgroup.procs"; exec unshare -mpuiC --fork --kill-child "$@"' \
            "$group" sh "$0" inside "$@" || status=$?
        find "$group" -depth -type d -exec rmdir {} +
        exit "$status"
        ;;
esac
shift
way=$1 source=$2 build=$3 files=$4

mount --make-rprivate /
mount -t tmpfs machine /mnt
cd /mnt
mkdir upper work root
mount -t overlay machine -o lowerdir=/,upperdir=upper,workdir=work root
mkdir -p root/src root/build root/files
mount --bind "$source" root/src
mount --bind "$build" root/build
mount --bind "$files" root/files
mount -t proc proc root/proc
mount -t sysfs -o ro sysfs root/sys
mount -t cgroup2 none root/sys/fs/cgroup
for directory in run tmp var/tmp dev; do
    mount -t tmpfs -o mode=1777 machine "root/$directory"
done
chmod 755 root/run root/dev
node() { mknod -m 666 "root/dev/$1" c "$2" "$3"; }
node null 1 3; node zero 1 5; node full 1 7; node random 1 8; node urandom 1 9; node tty 5 0; node fuse 10 229
mkdir -m 755 root/dev/pts root/dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts root/dev/pts
ln -s pts/ptmx root/dev/ptmx
ln -s /proc/self/fd root/dev/fd
ln -s fd/0 root/dev/stdin; ln -s fd/1 root/dev/stdout; ln -s fd/2 root/dev/stderr
hostname machine
cd root
pivot_root . mnt
umount -l /mnt

cd /
export PATH=/build:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/
if [ "$way" = run ]; then
    status=0
    bash -eu -o pipefail -x /files/script || status=$?
    exit "$status"
fi

# On a real machine systemd does this.
mount --make-rshared /
# Settings of the kernel, which it would change, are those of this machine too.
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
# Only what is asked for is started; the script ends the machine with its own exit status.
find /etc/systemd/system -mindepth 2 -path '*.wants/*' -delete
bash -eu -o pipefail -x /files/before
cat > /etc/systemd/system/script.service << 'END'
[Unit]
SuccessAction=exit
FailureAction=exit
After=basic.target
Requires=basic.target
[Service]
Type=oneshot
Environment=PATH=/build:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/
ExecStart=bash -eu -o pipefail -x /files/script
StandardOutput=append:/files/output
StandardError=append:/files/output
END
exec env -i container=owltmp-test /lib/systemd/systemd --system --unit=script.service --log-target=journal --show-status=no
