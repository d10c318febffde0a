/* One partition's journal, and two workers that may both believe to lead it.
 *
 * Theory of operation. The journal (`log`) is the only thing that the workers share.
 * A worker that the group assigns the partition appends ELECTED; where that lands is
 * its epoch. It folds the journal up to that very record, and only then takes commands,
 * from the position in the folded state. Each decision is a record (epoch, n, command).
 * The worker acts on a decision (begins the step that it grants) once the append was
 * acknowledged at the offset that it expected: one behind its last. Anything else, an
 * error, no report, another offset, makes it drop what is not acknowledged, and start
 * again with an election.
 *
 * What may go wrong, as often as the bounds below allow:
 *  - MOVES    the group changes its mind; the old leader notices late, or never;
 *  - FAULTS   an append is reported as failed, and lands all the same, at once, later
 *             or never (that covers lost reports and refusals); or it lands twice;
 *  - CRASHES  a worker loses its memory between any two actions;
 *  - for nothing: pauses of any length, and whatever is in flight when a leader steps
 *    down or dies still lands later, or never. With DEPTH 2, the two appends in flight
 *    land in any order: the model does not lean on the producer's idempotence.
 *
 * The reference: `f_...` is the fold of the whole log, kept at each append by the same
 * rule that every reader uses. Properties:
 *  - admitted_once       every command counts once, in order; at the end, none is missing;
 *  - one_result          no reader of the log sees two results of a step;
 *  - acts_if_it_counts   a step begins only when the record that grants it counts;
 *  - state_is_fold       a leader's state is the fold at that offset;
 *  - not_begun_again     a leader never begins a step whose result is in its fold;
 *  - all_done            in every end state all commands and results are in the fold.
 * Nothing in the model can go round in circles (run.sh checks that too), so all_done
 * means: eventually.
 */

#include "fence.h"

#ifndef COMMANDS
#define COMMANDS 2
#endif
#ifndef STEPS
#define STEPS COMMANDS  /* how many of the commands, from the first on, grant a step */
#endif
#ifndef DEPTH
#define DEPTH 1
#endif
#ifndef MOVES
#define MOVES 1
#endif
#ifndef FAULTS
#define FAULTS 1
#endif
#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef LATE
#define LATE 2          /* appends that may be under way although nobody waits for them */
#endif
#ifndef LOGMAX
#define LOGMAX 20       /* asserted never to be reached */
#endif

#define EVERY ((1 << STEPS) - 1)

/* a worker */
#define OFF       0
#define ELECTING  1
#define LEADING   2

/* an append in flight */
#define SENT      1
#define LANDED    2
#define FAILED    3

hidden byte admitted_once = true, one_result = true, acts_if_it_counts = true;
hidden byte state_is_fold = true, not_begun_again = true, all_done = true, log_has_room = true;

typedef Record {
	byte kind; byte epoch; byte n; byte arg;
	bool counts; byte pos; byte done        /* the reference, after this record */
};
typedef Append { byte kind; byte epoch; byte n; byte arg };
typedef Slot   { byte kind; byte n; byte arg; byte status; byte offset };

Record log[LOGMAX];
byte   length;
Append late[LATE];

byte f_epoch = NO_EPOCH, f_n, f_pos, f_done;

byte assigned;                               /* whom the group proposes */
byte moves = MOVES, faults = FAULTS, crashes = CRASHES;
#ifdef GROUP_OFFSET
byte group_offset;
#endif

/* The broker appends a record; the reference folds it. */
inline land(k_, e_, m_, a_) {
	d_step {
		must(log_has_room, length < LOGMAX);
		log[length].kind = k_; log[length].epoch = e_; log[length].n = m_; log[length].arg = a_;
		if
		:: k_ == ELECTED -> f_epoch = length; f_n = 0; log[length].counts = true
		:: k_ != ELECTED && COUNTS(e_, m_, f_epoch, f_n) ->
			f_n = m_; log[length].counts = true;
			if
			:: k_ == DECIDED ->
				must(admitted_once, a_ == f_pos);
				f_pos = a_ + 1
			:: k_ == RESULT ->
				must(one_result, a_ < f_pos && !HAS(f_done, a_));
				f_done = f_done | BIT(a_)
			fi
		:: else -> skip
		fi;
		log[length].pos = f_pos; log[length].done = f_done;
		length++
	}
}

/* Nobody waits for this append any more: it lands later, or never. */
inline forsake(k_, e_, m_, a_) {
	if
	:: late[0].kind == NONE ->
		d_step { late[0].kind = k_; late[0].epoch = e_; late[0].n = m_; late[0].arg = a_ }
#if LATE > 1
	:: late[0].kind != NONE && late[1].kind == NONE ->
		d_step { late[1].kind = k_; late[1].epoch = e_; late[1].n = m_; late[1].arg = a_ }
#endif
	:: true
	fi
}

inline send(k, a) {
	d_step {
		q[qn].kind = k; q[qn].arg = a; q[qn].status = SENT; q[qn].offset = 0;
		if
		:: k == ELECTED -> q[qn].n = 0
		:: else -> q[qn].n = next_n; next_n++
		fi;
		qn++
	}
}

inline clear(i) {
	q[i].kind = NONE; q[i].n = 0; q[i].arg = 0; q[i].status = 0; q[i].offset = 0
}

inline pop() {
	d_step {
#if DEPTH > 1
		q[0].kind = q[1].kind; q[0].n = q[1].n; q[0].arg = q[1].arg;
		q[0].status = q[1].status; q[0].offset = q[1].offset;
		clear(1);
#else
		clear(0);
#endif
		qn--
	}
}

/* Drop what was not acknowledged, and everything of this term. */
inline step_down() {
	if
	:: q[0].status == SENT -> forsake(q[0].kind, epoch, q[0].n, q[0].arg)
	:: else
	fi;
#if DEPTH > 1
	if
	:: q[1].status == SENT -> forsake(q[1].kind, epoch, q[1].n, q[1].arg)
	:: else
	fi;
#endif
	d_step {
		clear(0);
#if DEPTH > 1
		clear(1);
#endif
#ifdef NO_TERM_CHECK
		stale = stale | (begun & ~sent_result);
#endif
		qn = 0; phase = OFF; epoch = 0; next_n = 0; expected = 0;
		pos = 0; acked_pos = 0; acked_done = 0; begun = 0; sent_result = 0
	}
}

/* Read the log up to `until` and fold it: what every reader does. */
inline fold(until) {
	d_step {
		i = 0; e = NO_EPOCH; m = 0; acked_pos = 0; acked_done = 0;
		do
		:: i > until -> break
		:: i <= until && log[i].kind == ELECTED -> e = i; m = 0; i++
		:: i <= until && log[i].kind != ELECTED ->
			if
			:: COUNTS(log[i].epoch, log[i].n, e, m) ->
				m = log[i].n;
				if
				:: log[i].kind == DECIDED -> acked_pos = log[i].arg + 1
				:: else -> acked_done = acked_done | BIT(log[i].arg)
				fi
			:: else
			fi;
			i++
		od;
		i = 0; e = 0; m = 0
	}
}

#ifdef NO_CONTIGUITY
#define AS_EXPECTED(offset)  (true)
#else
#define AS_EXPECTED(offset)  (offset == expected)
#endif

/* Reports are taken in order; the first bad one ends the term. Taking a report touches
 * nothing that another process sees, so it happens together with what made it possible. */
inline take_reports() {
	do
	:: qn == 0 || q[0].status == SENT -> break
	:: qn > 0 && q[0].status == FAILED -> step_down()
	:: qn > 0 && q[0].status == LANDED && phase == ELECTING ->
		d_step {
			epoch = q[0].offset; expected = epoch + 1; next_n = 1; phase = LEADING;
#ifndef FOLD_BEFORE_ELECTION
			fold(epoch);
#endif
			must(state_is_fold, acked_pos == log[epoch].pos && acked_done == log[epoch].done);
			pos = acked_pos;
#ifdef GROUP_OFFSET
			pos = group_offset;
#endif
			pop()
		}
	:: qn > 0 && q[0].status == LANDED && phase == LEADING && !AS_EXPECTED(q[0].offset) ->
		step_down()
	:: qn > 0 && q[0].status == LANDED && phase == LEADING && AS_EXPECTED(q[0].offset) ->
		d_step {
			expected = q[0].offset + 1;
			if
			:: q[0].kind == DECIDED -> acked_pos = q[0].arg + 1
			:: else -> acked_done = acked_done | BIT(q[0].arg)
			fi;
			must(acts_if_it_counts, log[q[0].offset].counts);
			must(state_is_fold, acked_pos == log[q[0].offset].pos
				&& acked_done == log[q[0].offset].done)
		}
#ifdef GROUP_OFFSET
		if
		:: group_offset = acked_pos
		:: true                         /* the commit comes later, or never */
		fi;
#endif
		pop()
	od
}

#ifdef ACT_BEFORE_ACK
#define GRANTED(c)  (c < pos)
#else
#define GRANTED(c)  (c < acked_pos)
#endif

inline begin(c) {
	atomic {
		phase == LEADING && GRANTED(c) && !HAS(acked_done, c) && !HAS(begun, c) ->
		must(acts_if_it_counts, c < f_pos);
		must(not_begun_again, !HAS(acked_done, c));
		begun = begun | BIT(c)
	}
}

/* The step's result is taken only if the step was begun in this very term. */
inline finish(c) {
	atomic {
		phase == LEADING && qn < DEPTH && HAS(begun, c) && !HAS(sent_result, c) ->
		sent_result = sent_result | BIT(c);
		send(RESULT, c)
	}
}

#ifdef NO_TERM_CHECK
inline finish_stale(c) {
	atomic {
		phase == LEADING && qn < DEPTH && HAS(stale, c) && GRANTED(c) && !HAS(acked_done, c) ->
		stale = stale & ~BIT(c);
		send(RESULT, c)
	}
}
#endif

inline broker_takes(s) {
	if
	:: true
#ifndef NO_DUPLICATES
	:: faults > 0 -> faults--; forsake(q[s].kind, epoch, q[s].n, q[s].arg)     /* twice */
#endif
	fi;
	d_step {
		q[s].offset = length; q[s].status = LANDED;
		land(q[s].kind, epoch, q[s].n, q[s].arg)
	}
	take_reports()
}

inline report_fails(s) {
	faults--;
	forsake(q[s].kind, epoch, q[s].n, q[s].arg);
	q[s].status = FAILED;
	take_reports()
}

proctype Worker(byte me) {
	byte phase, epoch, next_n, expected;
	byte pos;                               /* of the next command, decisions in flight included */
	byte acked_pos, acked_done;             /* the state as far as it is acknowledged */
	byte begun, sent_result;                /* steps of this term */
	byte i, e, m;
	byte qn;
	Slot q[DEPTH];
#ifdef NO_TERM_CHECK
	byte stale;                             /* steps of earlier terms that still run */
#endif

end:	do
	:: atomic { phase == OFF && assigned == me ->
#ifdef FOLD_BEFORE_ELECTION
		if
		:: length > 0 -> fold(length - 1)
		:: else
		fi;
#endif
		phase = ELECTING; send(ELECTED, 0) }

	:: atomic { phase == LEADING && qn < DEPTH && pos < COMMANDS ->
		send(DECIDED, pos); pos++ }

#if STEPS > 0
	:: begin(0)
	:: finish(0)
#endif
#if STEPS > 1
	:: begin(1)
	:: finish(1)
#endif
#ifdef NO_TERM_CHECK
	:: finish_stale(0)
#endif

	:: atomic { q[0].status == SENT -> broker_takes(0) }
	:: atomic { q[0].status == SENT && faults > 0 -> report_fails(0) }
#if DEPTH > 1
	:: atomic { q[1].status == SENT -> broker_takes(1) }
	:: atomic { q[1].status == SENT && faults > 0 -> report_fails(1) }
#endif

	:: atomic { phase != OFF && assigned != me -> step_down() }     /* it notices */
	:: atomic { phase != OFF && crashes > 0 -> crashes--; step_down();
#ifdef NO_TERM_CHECK
		stale = 0
#endif
		}
	od
}

proctype Group() {
	do
	:: atomic { moves > 0 -> moves--; assigned = 1 - assigned }
	:: moves == 0 -> break
	od
}

inline lands_late(i) {
	atomic {
		late[i].kind != NONE ->
		d_step {
			land(late[i].kind, late[i].epoch, late[i].n, late[i].arg);
			late[i].kind = NONE; late[i].epoch = 0; late[i].n = 0; late[i].arg = 0
		}
	}
}

proctype Network() {
end:	do
	:: lands_late(0)
#if LATE > 1
	:: lands_late(1)
#endif
	od
}

init {
	atomic { run Worker(0); run Worker(1); run Group(); run Network() }
	timeout -> must(all_done, f_pos == COMMANDS && f_done == EVERY)
}
