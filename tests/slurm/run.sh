#!/usr/bin/env bash
# A SLURM cluster of one node on loopback, the tests that need one, and everything torn down again. As root, on Debian.
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! command -v slurmctld >/dev/null || ! command -v munged >/dev/null; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge >/dev/null
fi

work="$(mktemp -d)"
node="$(hostname -s)"
started_munge=""
stop() {
  status=$?
  set +e
  [ -f "$work/slurmd.pid" ] && kill "$(cat "$work/slurmd.pid")"
  [ -f "$work/slurmctld.pid" ] && kill "$(cat "$work/slurmctld.pid")"
  [ -n "$started_munge" ] && kill "$(cat /run/munge/munged.pid)"
  sleep 1
  if [ "$status" -ne 0 ]; then tail -n 30 "$work"/*.log; fi
  rm -rf "$work"
  exit "$status"
}
trap stop EXIT

if ! pgrep -x munged >/dev/null; then
  [ -f /etc/munge/munge.key ] || { dd if=/dev/urandom of=/etc/munge/munge.key bs=1 count=1024 status=none; }
  chown munge:munge /etc/munge/munge.key && chmod 400 /etc/munge/munge.key
  install -d -o munge -g munge -m 0755 /run/munge /var/log/munge
  runuser -u munge -- /usr/sbin/munged
  started_munge=yes
fi

mkdir "$work/state" "$work/spool"
cat > "$work/slurm.conf" <<CONF
ClusterName=joulebench
SlurmctldHost=$node(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=5
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
NodeName=$node NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=small Nodes=$node Default=YES MaxTime=60 State=UP
CONF
export SLURM_CONF="$work/slurm.conf"
slurmctld -f "$SLURM_CONF"
slurmd -f "$SLURM_CONF"
for _ in $(seq 60); do
  if sinfo --noheader --format=%T 2>/dev/null | grep -qx idle; then break; fi
  sleep 0.5
done
sinfo
sinfo --noheader --format=%T | grep -qx idle
JOULEBENCH_SLURM=yes .venv/bin/python -m pytest -q tests/slurm "$@"
