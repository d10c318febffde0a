/* Commands from one partition to another.
 *
 * Theory of operation. The source's journal gives its commands to this destination dense
 * sequences: 1, 2, 3... They stay in the source's state until a later record marks them as
 * sent. The leader of the source has one queue per destination: it sends in order, keeps up
 * to two appends in flight, and counts as acknowledged only what has a report in order,
 * without an error, at a higher offset than the one before. After any failure, and after a takeover, it
 * sends again from the first that is not known as acknowledged, in order. The receiver
 * applies only mark + 1: lower is a duplicate, higher is ignored.
 *
 * What leader.pml shows is taken as given here: only the newest leader's records count, so
 * deciding and marking are single actions, open to the newest leader alone. Sending is not
 * fenced by anything: a deposed leader goes on sending what it was granted. The receiver
 * applies at the moment of landing: only the order in its log matters, not how late it is.
 *
 * What may go wrong: TAKEOVERS (with or without the old one noticing), FAULTS (an append is
 * reported as failed, and lands at once, later or never; it lands twice), appends
 * in flight that land in any order (REORDER; otherwise as an idempotent producer
 * promises: a later one never overtakes an earlier one that is still to be acknowledged).
 *
 * Properties:
 *  - applied_in_order   what is applied is the next one of the journal, with its content;
 *  - sent_is_applied    what is marked as sent has been applied (or waits in the receiver's log);
 *  - none_lost          in every end state all commands are applied and marked.
 */

#include "fence.h"

#ifndef COMMANDS
#define COMMANDS 3
#endif
#ifndef TAKEOVERS
#define TAKEOVERS 2
#endif
#ifndef FAULTS
#define FAULTS 2
#endif
#ifndef LATE
#define LATE 2
#endif

#define SENT      1
#define LANDED    2
#define FAILED    3

hidden byte applied_in_order = true, sent_is_applied = true, none_lost = true;

typedef Slot { byte seq; byte who; byte status; bool overtook };
typedef Late { byte seq; byte who };

/* The source's fold: how many commands were decided, by which term, and how many are marked. */
byte decided, marked;
byte decided_by[COMMANDS + 1];
byte term;

byte mark;                                      /* the receiver's */
Late late[LATE];
byte takeovers = TAKEOVERS, faults = FAULTS;

#ifdef ACCEPT_HIGHER
#define APPLIES(s)  (s > mark)
#elif defined(NO_MARK)
#define APPLIES(s)  (s <= mark + 1)
#else
#define APPLIES(s)  (s == mark + 1)
#endif

inline deliver(s_, w_) {
	d_step {
		if
		:: APPLIES(s_) ->
			must(applied_in_order, s_ == mark + 1 && s_ <= decided && w_ == decided_by[s_]);
			mark = s_
		:: else
		fi
	}
}

inline forsake(i) {
	if
	:: late[0].seq == 0 -> d_step { late[0].seq = q[i].seq; late[0].who = q[i].who }
	:: late[0].seq != 0 && late[1].seq == 0 ->
		d_step { late[1].seq = q[i].seq; late[1].who = q[i].who }
	:: true
	fi
}

inline clear(i) { q[i].seq = 0; q[i].who = 0; q[i].status = 0; q[i].overtook = 0 }

inline pop() {
	d_step {
		q[0].seq = q[1].seq; q[0].who = q[1].who; q[0].status = q[1].status;
		q[0].overtook = q[1].overtook;
		clear(1); qn--
	}
}

/* Whatever is in flight is not waited for any more. */
inline drop_queue() {
	if
	:: q[0].status == SENT -> forsake(0)
	:: else
	fi;
	if
	:: q[1].status == SENT -> forsake(1)
	:: else
	fi;
	d_step { clear(0); clear(1); qn = 0 }
}

#ifdef NO_OFFSET_CHECK
#define OVERTOOK(s)  (false)
#else
#define OVERTOOK(s)  (q[s].overtook)
#endif

#ifdef MARK_NOT_A_PREFIX
/* The broken one: every acknowledgement moves the mark; only what failed is sent again. */
inline take_reports() {
	do
	:: q[0].status == LANDED -> acked = (q[0].seq > acked -> q[0].seq : acked); pop()
	:: q[1].status == LANDED && q[0].status != LANDED ->
		acked = q[1].seq;
		d_step { clear(1); qn-- }
	:: else -> break
	od
}
#elif defined(KEEP_LATER_ACKS)
/* The broken one: marks a prefix, but after a failure only what failed is sent again;
 * acknowledgements of later ones stay good. */
inline take_reports() {
	do
	:: q[0].status == LANDED -> acked = q[0].seq; pop()
	:: else -> break
	od
}
#else
inline take_reports() {
	do
	:: qn > 0 && q[0].status == LANDED && !OVERTOOK(0) -> acked = q[0].seq; pop()
	:: qn > 0 && (q[0].status == FAILED || (q[0].status == LANDED && OVERTOOK(0))) ->
		drop_queue(); next = acked + 1
	:: else -> break
	od
}
#endif

inline broker_takes(s) {
	if
	:: true
	:: faults > 0 -> faults--; forsake(s)           /* it will land twice */
	fi;
	d_step {
		q[s].status = LANDED;
		if
		:: s == 1 && q[0].status == SENT -> q[1].overtook = true
		:: else
		fi;
		deliver(q[s].seq, q[s].who)
	}
	take_reports()
}

inline report_fails(s) {
	faults--;
	forsake(s);
	q[s].status = FAILED;
	take_reports()
}

proctype Source() {
	byte mine;                      /* the term that this worker believes to lead; 0: none */
	byte known, next, acked, qn;    /* decided as far as it knows; next to send; acknowledged */
	Slot q[2];

end:	do
	:: atomic { takeovers > 0 && mine != term || term == 0 ->
		if
		:: term > 0 -> takeovers--
		:: else
		fi;
		drop_queue();
		term++; mine = term; known = decided; acked = marked;
#ifdef RESUME_AT_END
		next = decided + 1
#else
		next = marked + 1
#endif
		}

	:: atomic { mine != 0 && mine != term ->                /* it notices */
		drop_queue(); mine = 0; known = 0; next = 0; acked = 0 }

	:: atomic { takeovers > 0 && mine != 0 && mine == term ->       /* crash and restart */
		takeovers--;
		drop_queue();
		known = decided; acked = marked; next = marked + 1 }

	:: d_step { mine != 0 && mine == term && decided < COMMANDS ->
		decided++; decided_by[decided] = mine; known = decided }

	:: d_step { mine != 0 && mine == term && acked > marked ->
		marked = acked;
		must(sent_is_applied, marked <= mark) }

#ifdef SEND_BEFORE_ACK
	:: atomic { mine != 0 && next <= known + 1 && next <= COMMANDS && qn < 2 ->
#else
	:: atomic { mine != 0 && next <= known && qn < 2 ->
#endif
		d_step {
			q[qn].seq = next; q[qn].status = SENT; q[qn].overtook = false;
#ifdef SEND_BEFORE_ACK
			q[qn].who = (next <= known -> decided_by[next] : mine);
#else
			q[qn].who = decided_by[next];
#endif
			qn++; next++
		} }

	:: atomic { q[0].status == SENT -> broker_takes(0) }
	:: atomic { q[0].status == SENT && faults > 0 -> report_fails(0) }
#ifdef REORDER
	:: atomic { q[1].status == SENT -> broker_takes(1) }
#else
	:: atomic { q[1].status == SENT && q[0].status != SENT -> broker_takes(1) }
#endif
	:: atomic { q[1].status == SENT && faults > 0 -> report_fails(1) }
#if defined(MARK_NOT_A_PREFIX) || defined(KEEP_LATER_ACKS)
	:: d_step { q[0].status == FAILED -> q[0].status = SENT; q[0].overtook = false }
	:: d_step { q[1].status == FAILED -> q[1].status = SENT; q[1].overtook = false }
#endif
	od
}

proctype Network() {
end:	do
	:: d_step { late[0].seq != 0 -> deliver(late[0].seq, late[0].who); late[0].seq = 0; late[0].who = 0 }
	:: d_step { late[1].seq != 0 -> deliver(late[1].seq, late[1].who); late[1].seq = 0; late[1].who = 0 }
	od
}

init {
	atomic { run Source(); run Source(); run Network() }
	timeout -> must(none_lost, mark == COMMANDS && marked == COMMANDS)
}
