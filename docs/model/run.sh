#!/usr/bin/env bash
# Checks the protocol's models with Spin. Usage: docs/model/run.sh [--quick] [NAME...]
#
# Every right configuration has to pass a complete search, every broken variant has to
# fail, and with the property that it is expected to break. Exit 0: all of that holds;
# 1: it does not; 2: usage, or something is missing on this machine.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

quick=
names=()
for argument in "$@"; do
	case $argument in
	--quick) quick=1 ;;
	-h | --help) sed -n '2,6s/^# //p' "${BASH_SOURCE[0]}"; exit 0 ;;
	-*) echo "run.sh: unknown option $argument" >&2; exit 2 ;;
	*) names+=("$argument") ;;
	esac
done

command -v spin >/dev/null || { echo "run.sh: spin is missing; on Debian: apt install spin" >&2; exit 2; }
compiler=${CC:-}
[ -n "$compiler" ] || for candidate in cc gcc clang; do
	command -v "$candidate" >/dev/null && { compiler=$candidate; break; }
done
[ -n "$compiler" ] || { echo "run.sh: a C compiler is missing; on Debian: apt install gcc" >&2; exit 2; }

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
failed=0
ran=0
memory=${MODEL_MEMORY_MB:-2900}
level=-O1        # of what is short, compiling takes longer than searching
[ -n "$quick" ] || { memory=${MODEL_MEMORY_MB:-8000}; level=-O2; }

# build MODEL MACROS PAN_FLAGS [-O]: a fresh directory in $work with the checker in it
build() {
	rm -rf "$work/run" && mkdir "$work/run" && cd "$work/run" && cp "$here"/*.pml "$here"/*.h . || return 1
	# shellcheck disable=SC2086
	spin $2 -a "$1.pml" >spin.out 2>&1 && $compiler "${4:-$level}" -w -DCOLLAPSE -DMEMLIM="$memory" $3 -o pan pan.c >cc.out 2>&1 ||
		{ cat spin.out cc.out 2>/dev/null; return 1; }
}

wanted() {
	[ ${#names[@]} -eq 0 ] && return 0
	local name
	for name in "${names[@]}"; do [[ $1 == "$name"* ]] && return 0; done
	return 1
}

# right NAME MODEL MACROS [acyclic]: the whole state space, no error
right() {
	wanted "$1" || return 0
	ran=$((ran + 1))
	local flags=-DSAFETY options= verdict=ok
	[ "${4:-}" = acyclic ] && flags=-DNP options=-l
	build "$2" "$3" "$flags" || { printf '%-34s does not build\n' "$1"; failed=1; return; }
	# shellcheck disable=SC2086
	local started=$SECONDS
	./pan -m100000 -w22 $options >out 2>&1 || verdict=FAILED
	grep -q 'errors: 0' out || verdict=FAILED
	grep -Eqi 'max search depth too small|not completed|out of memory|memory bound|bit statespace|hash-compact' out && verdict=TRUNCATED
	[ $verdict = ok ] || failed=1
	printf '%-34s %10s states  depth %4s  %4s s  %s\n' "$1" \
		"$(awk '/states, stored/ {print $1; exit}' out)" \
		"$(sed -n 's/.*depth reached \([0-9]*\).*/\1/p' out | tail -1)" \
		"$((SECONDS - started))" "$verdict"
	[ $verdict = ok ] || grep -E 'pan:1|rror' out
}

# broken NAME PROPERTY MODEL MACROS: an error, in the property that the missing rule protects
broken() {
	wanted "$1" || return 0
	ran=$((ran + 1))
	build "$3" "$4" -DSAFETY -O0 || { printf '%-34s does not build\n' "$1"; failed=1; return; }
	./pan -m100000 -w20 >out 2>&1
	local caught
	caught=$(sed -n 's/^pan:1: assertion violated *( *!(\([a-z_]*\)).*/\1/p' out)
	if [ "$caught" = "$2" ]; then
		printf '%-34s fails as it must: %s\n' "$1" "$caught"
	else
		failed=1
		printf '%-34s FAILED: expected %s, found %s\n' "$1" "$2" "${caught:-no error}"
	fi
}

echo "right: the search is complete and finds nothing"
right leader              leader     "-DSTEPS=1 -DCRASHES=0"
right leader-crash        leader     "-DCOMMANDS=1 -DCRASHES=1"
right leader-moves        leader     "-DSTEPS=1 -DCRASHES=0 -DFAULTS=0 -DMOVES=2"
right leader-depth-2      leader     "-DDEPTH=2 -DSTEPS=0 -DCRASHES=0 -DLATE=1"
right leader-ends         leader     "-DSTEPS=1 -DCRASHES=0" acyclic
right outbox              outbox     ""
right outbox-reorder      outbox     "-DREORDER"
right router              router     "-DEVENTS=3"
right checkpoint          checkpoint "-DCRASHES=0 -DFAULTS=0"
right checkpoint-moves    checkpoint "-DCRASHES=0 -DFAULTS=0 -DCOMMANDS=1 -DMOVES=2"
right checkpoint-crash    checkpoint "-DSNAPSHOTS=1 -DFAULTS=0"
right checkpoint-faults   checkpoint "-DSNAPSHOTS=1 -DCRASHES=0"
right checkpoint-in-order checkpoint "-DCRASHES=0 -DFAULTS=0 -DCOMMANDS=1 -DFIRST_IN_ORDER"
right checkpoint-ends     checkpoint "-DCRASHES=0 -DFAULTS=0 -DCOMMANDS=1" acyclic
if [ -z "$quick" ]; then
	right leader-full             leader     "-DSTEPS=1"
	right leader-moves-full       leader     "-DSTEPS=1 -DCRASHES=0 -DFAULTS=0 -DMOVES=3"
	right leader-depth-2-full     leader     "-DDEPTH=2 -DSTEPS=0 -DCRASHES=0"
	right leader-depth-2-steps    leader     "-DDEPTH=2 -DSTEPS=1 -DCRASHES=0 -DFAULTS=0"
	right outbox-full             outbox     "-DREORDER -DCOMMANDS=4 -DTAKEOVERS=3"
	right outbox-ends             outbox     "-DREORDER" acyclic
	right router-full             router     "-DEVENTS=4 -DCOMMITS=2"
	right checkpoint-crash-full    checkpoint "-DCOMMANDS=1 -DFAULTS=0"
	right checkpoint-faults-full   checkpoint "-DCOMMANDS=1 -DCRASHES=0"
	right checkpoint-both-full     checkpoint "-DSNAPSHOTS=1"
	right checkpoint-undone-full   checkpoint "-DSNAPSHOTS=1 -DCRASHES=0 -DCOMMANDS=1 -DMOVES=2 -DFAULTS=2"
	right checkpoint-moves-full    checkpoint "-DCRASHES=0 -DFAULTS=0 -DCOMMANDS=1 -DMOVES=3"
	right checkpoint-long-full     checkpoint "-DCRASHES=0 -DFAULTS=0 -DCOMMANDS=3"
	right checkpoint-reorder-full  checkpoint "-DCRASHES=0 -DFAULTS=0 -DCOMMANDS=1 -DREORDER"
	right checkpoint-in-order-full checkpoint "-DCRASHES=0 -DCOMMANDS=1 -DFIRST_IN_ORDER"
	right checkpoint-acked-full    checkpoint "-DCRASHES=0 -DCOMMANDS=1 -DCOMMANDS_ACKED"
	right checkpoint-ends-full     checkpoint "-DCRASHES=0 -DFAULTS=0" acyclic
fi

echo "broken: one rule removed, the search finds what it protects"
broken no-epoch                 one_result        leader "-DSTEPS=1 -DNO_EPOCH_CHECK"
broken no-n                     one_result        leader "-DSTEPS=1 -DNO_N_CHECK"
broken no-n-gap                 admitted_once     leader "-DSTEPS=0 -DDEPTH=2 -DNO_DUPLICATES -DNO_N_CHECK"
broken act-before-ack           acts_if_it_counts leader "-DSTEPS=1 -DACT_BEFORE_ACK"
broken no-contiguity            acts_if_it_counts leader "-DSTEPS=1 -DNO_CONTIGUITY"
broken group-offset             admitted_once     leader "-DSTEPS=1 -DGROUP_OFFSET"
broken fold-before-election     state_is_fold     leader "-DSTEPS=1 -DFOLD_BEFORE_ELECTION"
broken no-term-check            one_result        leader "-DSTEPS=1 -DNO_TERM_CHECK"
broken accept-higher            applied_in_order  outbox "-DACCEPT_HIGHER"
broken no-mark                  applied_in_order  outbox "-DNO_MARK"
broken mark-not-a-prefix        sent_is_applied   outbox "-DMARK_NOT_A_PREFIX"
broken keep-later-acks          sent_is_applied   outbox "-DKEEP_LATER_ACKS"
broken no-offset-check          sent_is_applied   outbox "-DREORDER -DNO_OFFSET_CHECK"
broken resume-at-end            none_lost         outbox "-DRESUME_AT_END"
broken send-before-ack          applied_in_order  outbox "-DSEND_BEFORE_ACK"
broken commit-before-ack        commits_landed    router "-DEVENTS=3 -DCOMMIT_BEFORE_ACK"
broken no-floor                 admitted_once     router "-DEVENTS=3 -DNO_FLOOR"
broken no-seen-set              admitted_once     router "-DEVENTS=3 -DNO_SEEN_SET"
broken high-water               none_lost         router "-DEVENTS=3 -DHIGH_WATER"
broken floor-of-sent            none_lost         router "-DEVENTS=3 -DFLOOR_OF_SENT"
broken floor-not-contiguous     commits_landed    router "-DEVENTS=3 -DFLOOR_BEHIND_HIGHEST_ACK"
broken unfenced                 topics_suffice    checkpoint "-DCRASHES=0 -DFAULTS=0 -DUNFENCED"
broken named-elsewhere          topics_suffice    checkpoint "-DCRASHES=0 -DFAULTS=0 -DNAMED_ELSEWHERE"
broken named-before-written     topics_suffice    checkpoint "-DCRASHES=0 -DFAULTS=0 -DNAMED_BEFORE_WRITTEN"
broken unknown-is-written       topics_suffice    checkpoint "-DCRASHES=0 -DUNKNOWN_IS_WRITTEN"
broken other-term               topics_suffice    checkpoint "-DCRASHES=0 -DFAULTS=0 -DCOMMANDS=1 -DMOVES=2 -DOTHER_TERM"
broken two-at-once              topics_suffice    checkpoint "-DCRASHES=0 -DFAULTS=0 -DMOVES=0 -DTWO_AT_ONCE"
broken first-is-chunk-0         topics_suffice    checkpoint "-DCRASHES=0 -DFAULTS=0 -DREORDER -DFIRST_IS_CHUNK_0"
broken no-offset                topics_suffice    checkpoint "-DCRASHES=0 -DNO_OFFSET"
broken same-id                  snapshot_is_fold  checkpoint "-DCRASHES=0 -DSAME_ID"
broken no-count                 snapshot_is_fold  checkpoint "-DCRASHES=0 -DFAULTS=0 -DREORDER -DNO_COUNT"
broken view-mark-first          snapshot_is_fold  checkpoint "-DCRASHES=0 -DFAULTS=0 -DVIEW_MARK_FIRST"
broken view-mark-last           snapshot_is_fold  checkpoint "-DCRASHES=0 -DFAULTS=0 -DVIEW_MARK_LAST"
broken view-unacked             snapshot_is_fold  checkpoint "-DCRASHES=0 -DFAULTS=0 -DUNACKED_VIEW"
broken lowest-wins              topics_suffice    checkpoint "-DCRASHES=0 -DFAULTS=0 -DLOWEST_WINS"
broken last-wins                topics_suffice    checkpoint "-DCRASHES=0 -DFAULTS=0 -DLAST_WINS"
broken in-order-reader          topics_suffice    checkpoint "-DCRASHES=0 -DFAULTS=0 -DREORDER -DFIRST_IN_ORDER"
broken end-first                recovers          checkpoint "-DCRASHES=0 -DFAULTS=0 -DEND_FIRST"
broken start-last               recovers          checkpoint "-DCRASHES=0 -DFAULTS=0 -DSTART_LAST"
broken not-emptied              state_is_fold     checkpoint "-DCRASHES=0 -DFAULTS=0 -DNOT_EMPTIED"
broken mark-before-keys         state_is_fold     checkpoint "-DFAULTS=0 -DMARK_BEFORE_KEYS"
broken no-epoch-in-snapshot     topics_suffice    checkpoint "-DCRASHES=0 -DFAULTS=0 -DNO_EPOCH_IN_SNAPSHOT"
broken no-epoch-in-store        state_is_fold     checkpoint "-DCRASHES=0 -DFAULTS=0 -DSNAPSHOTS=1 -DNO_EPOCH_IN_STORE"
broken store-below-start        state_is_fold     checkpoint "-DCRASHES=0 -DFAULTS=0 -DSNAPSHOTS=1 -DSTORE_BELOW_START"
broken store-by-mark            untold_known      checkpoint "-DCRASHES=0 -DFAULTS=0 -DSNAPSHOTS=1 -DCOMMANDS=3 -DSTORE_BY_MARK"
broken hole-in-replay           state_is_fold     checkpoint "-DCRASHES=0 -DFAULTS=0 -DSNAPSHOTS=1 -DHOLE_IN_REPLAY"
broken trim-untold              history_kept      checkpoint "-DCRASHES=0 -DFAULTS=0 -DTRIM_UNTOLD"
broken told-of-leader           topics_suffice    checkpoint "-DCRASHES=0 -DFAULTS=0 -DTOLD_OF_LEADER"
broken commands-unacked         commands_kept     checkpoint "-DCRASHES=0 -DFAULTS=0 -DCOMMANDS_UNACKED"

[ $ran -gt 0 ] || { echo "run.sh: no check of that name" >&2; exit 2; }
[ $failed -eq 0 ] && echo "all $ran checks are as they must be" || echo "something is not as it must be"
exit $failed
