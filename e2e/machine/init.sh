#!/bin/busybox sh
# PID 1 of the test guests: a node of busybox and the agent, as small as it
# can be. It must never end while the machine should run.
trap '/etc/init.d/tufboot-gate stop; sync; reboot -f' TERM # what reboot(8) sends
/bin/busybox mkdir -p /bin /sbin /proc /sys /dev /run /tmp /data
/bin/busybox --install -s /bin
export PATH=/bin:/sbin:/usr/sbin HOME=/
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /run
while read -r module; do insmod "/lib/modules/$module"; done </etc/modules-order
# Before all that can hang.
if grep -q '^watchdog:' /etc/tufboot/agent.yaml 2>/dev/null; then agent watchdog >/run/watchdog.log 2>&1 & fi
release=$(cat /etc/tufboot-release)
slot=none try=0
for word in $(cat /proc/cmdline); do
	case $word in
	tufboot.slot=*) slot=${word#*=} ;;
	tufboot.try=*) try=${word#*=} ;;
	esac
done
say() { echo "node: $*" >/dev/console; }
say "release $release, slot $slot, trial boot $try"

ifconfig lo 127.0.0.1 up
ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up && route add default gw 10.0.2.2

# State and configuration live on DATA, as on a real node.
if data=$(agent locate data 2>/run/locate.err); then
	mount -t ext4 "$data" /data || say "cannot mount $data"
else
	say "no DATA: $(cat /run/locate.err)"
fi
[ -x /etc/init.d/local ] && /etc/init.d/local

# The command channel: see channel.go. A command of another boot, left over in
# a buffer, carries another nonce and is thrown away.
serve() {
	nonce=$(cat /proc/sys/kernel/random/uuid)
	exec 3<>/dev/vport0p1
	printf '\nBOOT %s %s %s %s .\n' "$nonce" "$slot" "$release" "$try" >&3
	while read -r to id script <&3; do
		[ "$to" = "$nonce" ] || continue
		echo "$script" | base64 -d >/run/command
		sh /run/command >/run/stdout 2>/run/stderr </dev/null 3>&-
		status=$?
		printf '\nDONE %s %s %s %s .\n' "$id" "$status" \
			"x$(base64 -w0 </run/stdout)" "x$(base64 -w0 </run/stderr)" >&3
	done
}
if [ -e /dev/vport0p1 ]; then
	serve &
else
	# Nobody drives this machine: a person does, at the serial console.
	while :; do setsid cttyhack sh -l; done &
fi

# The health gate, as on a real node.
/etc/init.d/tufboot-gate start
while :; do wait; sleep 1; done
