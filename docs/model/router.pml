/* From the events to the receivers' logs: the router.
 *
 * Theory of operation. A router reads the events from its committed offset on and sends a
 * command for each to one of two partitions, so that the sequences (the events' offsets)
 * are not dense at a receiver. With each command goes a floor: the offset below which this
 * router knows that everything is acknowledged; it begins at the committed offset, and
 * moves with the contiguous acknowledgements. It commits nothing beyond its floor. After a
 * failed report it starts over from the committed offset. The receiver keeps the sequences
 * that it saw at or above the highest floor that it was told, and drops what it saw, and
 * what lies below.
 *
 * Two routers may run at once, one of them deposed and not aware of it. Nothing fences
 * them: not their commands, nor their commits (the group does fence these; the model
 * shows that nothing depends on it: a late commit may set the offset back).
 *
 * What may go wrong: RESTARTS (a crash, or a takeover, at any moment), FAULTS (an append is
 * reported as failed, and lands at once, later or never; it lands twice). Up to two appends are in
 * flight, and land in any order.
 *
 * The receiver acts at the moment of landing: only the order in its log matters. Its own
 * takeovers are leader.pml's matter.
 *
 * Properties:
 *  - admitted_once    no event is admitted twice;
 *  - commits_landed   below the committed offset everything has landed;
 *  - none_lost        in every end state every event is admitted.
 */

#include "fence.h"

#ifndef EVENTS
#define EVENTS 4
#endif
#ifndef RESTARTS
#define RESTARTS 1
#endif
#ifndef COMMITS
#define COMMITS 3       /* a router may commit now and then, at any moment */
#endif
#ifndef FAULTS
#define FAULTS 1
#endif

#define SENT   1
#define LATE   2
#define EVERY  ((1 << EVENTS) - 1)
#define BIT(i) (1 << (i))
#define TO(e)  (e == 2 -> 1 : 0)        /* events 0, 1, 3... go to one partition, 2 to the other */

hidden byte admitted_once = true, commits_landed = true, none_lost = true;

typedef Command  { bool some; byte seq; byte floor };
typedef Slot     { byte status; byte seq; byte floor };
typedef Receiver { byte floor; byte seen };

Receiver r[2];
Command  late[LATE];
byte committed;
byte landed, admitted;                  /* the reference: sets of events */
byte restarts = RESTARTS, faults = FAULTS, commits = COMMITS;

inline receive(seq_, floor_, to_) {
	d_step {
		landed = landed | BIT(seq_);
#ifndef NO_FLOOR
		if
		:: floor_ > r[to_].floor ->
			r[to_].floor = floor_;
			r[to_].seen = (r[to_].seen >> floor_) << floor_
		:: else
		fi;
#endif
		if
#ifdef HIGH_WATER
		:: seq_ < r[to_].floor || (r[to_].seen >> seq_) != 0     /* keeps only the highest */
#elif defined(NO_SEEN_SET)
		:: seq_ < r[to_].floor
#else
		:: seq_ < r[to_].floor || HAS(r[to_].seen, seq_)
#endif
		:: else ->
			must(admitted_once, !HAS(admitted, seq_));
			admitted = admitted | BIT(seq_);
#ifdef NO_FLOOR
			r[to_].seen = BIT(seq_)       /* without a floor memory has to end somewhere */
#else
			r[to_].seen = r[to_].seen | BIT(seq_)
#endif
		fi
	}
}

inline forsake(i) {
	if
	:: !late[0].some -> d_step { late[0].some = 1; late[0].seq = q[i].seq; late[0].floor = q[i].floor }
	:: late[0].some && !late[1].some ->
		d_step { late[1].some = 1; late[1].seq = q[i].seq; late[1].floor = q[i].floor }
	:: true
	fi
}

inline clear(i) { q[i].status = 0; q[i].seq = 0; q[i].floor = 0 }

inline start_over() {
	if
	:: q[0].status == SENT -> forsake(0)
	:: else
	fi;
	if
	:: q[1].status == SENT -> forsake(1)
	:: else
	fi;
	d_step {
		clear(0); clear(1);
		next = committed; floor = committed; acked = BIT(committed) - 1
	}
}

inline take_ack(i) {
	d_step {
		acked = acked | BIT(q[i].seq);
#ifdef FLOOR_BEHIND_HIGHEST_ACK
		floor = (q[i].seq + 1 > floor -> q[i].seq + 1 : floor);
#endif
		do
		:: HAS(acked, floor) -> floor++
		:: else -> break
		od;
		clear(i);
		if                              /* keep them in order: fewer states */
		:: i == 0 && q[1].status == SENT ->
			q[0].status = SENT; q[0].seq = q[1].seq; q[0].floor = q[1].floor;
			clear(1)
		:: else
		fi
	}
}

inline broker_takes(i) {
	atomic {
		q[i].status == SENT ->
		if
		:: true
		:: faults > 0 -> faults--; forsake(i)           /* it will land twice */
		fi;
		d_step {
			receive(q[i].seq, q[i].floor, TO(q[i].seq));
			take_ack(i)
		}
	}
}

inline send(i) {
	d_step {
		up && next < EVENTS && q[i].status == 0 && (i == 0 || q[0].status == SENT) ->
		q[i].status = SENT; q[i].seq = next;
#ifdef FLOOR_OF_SENT
		q[i].floor = next;
#else
		q[i].floor = floor;
#endif
		next++
	}
}

proctype Router() {
	bool up;
	byte next, floor, acked;
	Slot q[2];

end:	do
	:: atomic { !up -> up = true; start_over() }
	:: atomic { up && restarts > 0 -> restarts--; start_over() }
	:: send(0)
	:: send(1)
	:: broker_takes(0)
	:: broker_takes(1)
	:: atomic { faults > 0 && (q[0].status == SENT || q[1].status == SENT) ->
		faults--;                               /* a failed report */
		start_over() }
#ifdef COMMIT_BEFORE_ACK
	:: d_step { up && next > committed -> committed = next;
#else
	:: d_step { up && floor != committed && commits > 0 -> committed = floor; commits--;
#endif
		must(commits_landed, (landed & (BIT(committed) - 1)) == BIT(committed) - 1) }
	od
}

proctype Network() {
end:	do
	:: d_step { late[0].some -> receive(late[0].seq, late[0].floor, TO(late[0].seq));
		late[0].some = 0; late[0].seq = 0; late[0].floor = 0 }
	:: d_step { late[1].some -> receive(late[1].seq, late[1].floor, TO(late[1].seq));
		late[1].some = 0; late[1].seq = 0; late[1].floor = 0 }
	od
}

init {
	atomic { run Router(); run Router(); run Network() }
	timeout -> must(none_lost, admitted == EVERY)
}
