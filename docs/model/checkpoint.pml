/* Checkpoints: snapshots in the state topic, trimming, the local store, and recovery.
 *
 * Theory of operation. The state is two keys, x and y, the position in the commands, and `told`: how
 * much of the journal history has acknowledged. Command 0 sets x, 1 sets y and deletes x, 2 sets x
 * again. A worker's store is the fold of the journal at its mark.
 *
 * A leader takes a view of its store, and writes it to the state topic as a snapshot while it goes on
 * deciding: a chunk with x, a chunk with y, and a footer with the mark, the position, `told` and the
 * number of chunks. Nothing is ever overwritten. After a failed or unknown write the snapshot is
 * abandoned, and its id never used again. When all parts are acknowledged the leader appends NAMED to
 * the journal, in the same term. What lies before a snapshot that a counting NAMED names may be
 * trimmed by anybody, at any time later, each topic on its own:
 *  - the journal below what a recovery from the snapshot reads (NEEDS): its mark's own record, or the
 *    first record that is not told according to the snapshot, if that is lower;
 *  - the commands below the snapshot's position;
 *  - the state topic below the lowest offset that was acknowledged for a part of it.
 * World trims, so every trim may be late, overtaken, repeated, the successor's, or left out.
 *
 * A worker whose store needs what the journal has no more empties it, and loads: it looks at the journal's
 * start, then at the state topic's start, then at its end; it reads from that start to that end, and takes
 * the complete snapshot with the highest mark, named or not. Then it follows the journal as a standby,
 * or campaigns, and replays up to its own ELECTED. A read that meets a trimmed offset starts over.
 * If no complete snapshot reaches to the journal's start it stops for good: that is what `recovers` forbids.
 * FIRST_IN_ORDER is another reader: it takes the first snapshot that reaches, and only if its parts lie in order.
 *
 * `at` is the offset behind a mark, 0 for an empty store; epoch and n of a mark are those of its record.
 * `told` is likewise the offset behind the last record told. A snapshot's id stands for writer and attempt.
 *
 * An append and its report are one action here (or the report is lost: FAULTS); what leader.pml shows
 * about late appends is not shown again. Reading a range is one action: records do not change, so
 * what is read later is the same, or is trimmed, and the reader starts over.
 * FAULTS: a state write fails, and lands at once, later or never; or it lands twice; the report of a journal
 * append is lost; the start of the journal or of the state topic falls back to 0, and the other does not.
 * CRASHES: the memory is lost, and the store comes back as it was, or as at any earlier mark, or empty.
 * REORDER: the parts land in any order.
 *
 * Properties:
 *  - snapshot_is_fold  every complete snapshot is the fold of the journal at its mark;
 *  - topics_suffice    after every change of a topic, a machine with an empty disk that read the topics at
 *                      that moment would get to the fold, and find all that is not told;
 *  - recovers          neither does one that reads step by step ever have to stop;
 *  - state_is_fold     a store is the fold at its mark, whether loaded, followed, replayed or led;
 *  - history_kept      what is not told is never trimmed;
 *  - untold_known      a new leader knows every record that counts and is not told;
 *  - commands_kept     whoever recovers finds its next command, and a leader that does not is deposed;
 *  - admitted_once     every command counts once, in order;
 *  - all_done          in every end state all commands are in the fold.
 */

#include "fence.h"

#ifndef COMMANDS
#define COMMANDS 2
#endif
#ifndef SNAPSHOTS
#define SNAPSHOTS 2     /* how many are begun */
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
#ifndef LOGMAX
#define LOGMAX 16       /* asserted never to be reached */
#endif
#define STATEMAX (3 * SNAPSHOTS + 3)

/* The true values at a position; 0: the key is not there. */
#define X(p)  (p == 1 -> 1 : (p == 3 -> 3 : 0))
#define Y(p)  (p >= 2 -> 2 : 0)

#define IDLE       0     /* or a standby */
#define LOADING    1     /* has looked at the journal's start */
#define FROM       2     /* and at that of the state topic */
#define UP_TO      3     /* and at its end */
#define REPLAYING  4
#define LEADING    5
#define OPENING    6     /* END_FIRST: has looked at the state topic's end */
#define HALF       7     /* MARK_BEFORE_KEYS */

#define CHUNK_X  1
#define CHUNK_Y  2
#define FOOTER   4
#define ALL      7
#define UNKNOWN  254     /* no offset: the write is not known to be there, */
#define NOWHERE  255     /* or no part is acknowledged yet */

hidden byte snapshot_is_fold = true, topics_suffice = true, recovers = true, state_is_fold = true;
hidden byte history_kept = true, untold_known = true, commands_kept = true;
hidden byte admitted_once = true, all_done = true, model_has_room = true;

typedef Record {
	byte kind; byte epoch; byte n; byte arg;        /* arg: the command, or the snapshot */
	bool counts; byte pos; byte told                /* the reference, after this record */
};
typedef Part { byte id; byte part; byte value; byte at; byte pos; byte told };
typedef Snapshot {
	byte at; byte pos; byte x; byte y; byte told;   /* the view */
	byte keep_journal; byte keep_commands; byte keep_state
};

Record   log[LOGMAX];
byte     length, log_start;
byte     f_at;                          /* behind the last record that counts */
Part     state[STATEMAX];
byte     state_length, state_start;
byte     commands_start;
byte     history;                       /* told up to here, in truth */

Snapshot snapshot[SNAPSHOTS + 1];       /* by id, from 1 */
byte     snapshots;
byte     named;                         /* the set of those that a counting record names */

byte     assigned;
byte     moves = MOVES, faults = FAULTS, crashes = CRASHES;
Part     late;                          /* a state write that nobody waits for; id 0: none */

#define EPOCH(at_)  (at_ == 0 -> NO_EPOCH : log[at_ - 1].epoch)
#define N(at_)      (at_ == 0 -> 0 : log[at_ - 1].n)
#define POS(at_)    (at_ == 0 -> 0 : log[at_ - 1].pos)
#define TOLD(at_)   (at_ == 0 -> 0 : log[at_ - 1].told)

/* The first offset that whoever has this mark needs. */
#define BELOW(at_)  (at_ == 0 -> 0 : at_ - 1)
#define NEEDS(at_, told_)  (told_ < BELOW(at_) -> told_ : BELOW(at_))

#define IS_FOLD(at_, pos_, x_, y_, told_) \
	(at_ <= length && (at_ == 0 || log[at_ - 1].counts) && pos_ == POS(at_) \
	&& x_ == X(pos_) && y_ == Y(pos_) && told_ == TOLD(at_))

/* ---- what any reader does; the scratch variables are hidden, and mean nothing outside ---- */

hidden byte s_i, s_id, s_found, s_at, s_pos, s_x, s_y, s_told, s_epoch, s_n, s_begin, s_end;
hidden byte g_parts, g_at, g_pos, g_x, g_y, g_told, g_begin, g_end, g_gap;
hidden int  s_counted, s_judged;

#if defined(NO_COUNT)
#define COMPLETE  (g_parts & FOOTER)
#elif defined(FIRST_IN_ORDER)
#define COMPLETE  (g_parts == ALL && !g_gap)
#else
#define COMPLETE  (g_parts == ALL)
#endif

#if defined(LAST_WINS)
#define BETTER  (!s_found || g_end > s_end)
#elif defined(LOWEST_WINS)
#define BETTER  (!s_found || g_at < s_at)
#elif defined(FIRST_IN_ORDER)
#define BETTER  (NEEDS(g_at, g_told) >= reach_ && (!s_found || g_begin < s_begin))
#else
#define BETTER  (!s_found || g_at > s_at)
#endif

/* Of the complete snapshots between two offsets, the one to take. */
inline find_snapshot(from_, to_, reach_) {
	s_found = false; s_at = 0; s_pos = 0; s_x = 0; s_y = 0; s_told = 0;
	s_begin = 0; s_end = 0; s_id = 1;
	do
	:: s_id > SNAPSHOTS -> break
	:: else ->
		g_parts = 0; g_at = 0; g_pos = 0; g_x = 0; g_y = 0; g_told = 0; g_begin = 0; g_end = 0; g_gap = false;
		s_i = from_;
		do
		:: s_i >= to_ -> break
		:: s_i < to_ && state[s_i].id == s_id ->
			g_begin = (g_parts == 0 -> s_i : g_begin);
			g_gap = g_gap || state[s_i].part > g_parts + 1;
			g_parts = g_parts | state[s_i].part;
			if
			:: state[s_i].part == CHUNK_X -> g_x = state[s_i].value
			:: state[s_i].part == CHUNK_Y -> g_y = state[s_i].value
			:: else ->
				g_at = state[s_i].at; g_pos = state[s_i].pos; g_told = state[s_i].told;
				g_end = s_i
			fi;
			s_i++
		:: else -> s_i++
		od;
		if
		:: COMPLETE ->
			must(snapshot_is_fold, g_at > 0 && IS_FOLD(g_at, g_pos, g_x, g_y, g_told));
			if
			:: BETTER ->
				s_found = true; s_at = g_at; s_pos = g_pos; s_x = g_x; s_y = g_y;
				s_told = g_told; s_begin = g_begin; s_end = g_end
			:: else
			fi
		:: else
		fi;
		s_id++
	od;
	s_epoch = EPOCH(s_at); s_n = N(s_at)
}

/* Fold the journal from s_at up to `until`, over what is in the scratch variables. */
inline fold_tail(until) {
	s_i = s_at;
#if defined(HOLE_IN_REPLAY) || defined(STORE_BELOW_START)
	if
	:: s_i < log_start -> s_i = log_start
	:: else
	fi;
#endif
	do
	:: s_i > until -> break
	:: s_i <= until && log[s_i].kind == ELECTED -> s_epoch = s_i; s_n = 0; s_i++; s_at = s_i
	:: s_i <= until && log[s_i].kind != ELECTED ->
		if
		:: COUNTS(log[s_i].epoch, log[s_i].n, s_epoch, s_n) ->
			s_n = log[s_i].n; s_told = log[s_i].told; s_at = s_i + 1;
			if
			:: log[s_i].kind == DECIDED -> apply(log[s_i].arg, s_pos, s_x, s_y)
			:: else
			fi
		:: else
		fi;
		s_i++
	od
}

/* What a decision puts and deletes. */
inline apply(c, pos_, x_, y_) {
	x_ = (c == 0 -> 1 : (c == 1 -> 0 : 3));
	if
	:: c == 1 -> y_ = 2
	:: else
	fi;
	pos_ = c + 1
}

inline forget_scratch() {
	s_i = 0; s_id = 0; s_found = false; s_at = 0; s_pos = 0; s_x = 0; s_y = 0; s_told = 0;
	s_epoch = 0; s_n = 0; s_begin = 0; s_end = 0; s_counted = 0; s_judged = 0;
	g_parts = 0; g_at = 0; g_pos = 0; g_x = 0; g_y = 0; g_told = 0; g_begin = 0; g_end = 0; g_gap = false
}

/* An empty machine, reading everything at this very moment. */
inline audit() {
	must(history_kept, log_start <= history);
	find_snapshot(state_start, state_length, log_start);
	must(topics_suffice, log_start == 0 || (s_found && NEEDS(s_at, s_told) >= log_start));
#ifdef NO_EPOCH_IN_SNAPSHOT
	s_epoch = NO_EPOCH; s_n = 0;
#endif
	if
	:: length > 0 -> fold_tail(length - 1)
	:: else
	fi;
	must(topics_suffice, s_at == f_at && IS_FOLD(s_at, s_pos, s_x, s_y, s_told));
	must(commands_kept, commands_start <= s_pos);
	forget_scratch()
}

/* ---- the broker ---- */

#ifdef NAMED_ELSEWHERE
#define NAMES(counts_)  (true)
#else
#define NAMES(counts_)  (counts_)
#endif

/* Commands are trimmed at once: whatever is left for longer does no harm. */
inline names(id) {
	named = named | BIT(id);
	commands_start = (snapshot[id].keep_commands > commands_start ->
		snapshot[id].keep_commands : commands_start)
}

inline land(k_, e_, m_, a_, told_) {
	must(model_has_room, length < LOGMAX);
	log[length].kind = k_; log[length].arg = a_;
	log[length].pos = POS(length); log[length].told = TOLD(length);
	if
	:: k_ == ELECTED ->
		log[length].epoch = length; log[length].counts = true;
		f_at = length + 1
	:: k_ != ELECTED && COUNTS(e_, m_, EPOCH(f_at), N(f_at)) ->
		log[length].epoch = e_; log[length].n = m_; log[length].counts = true;
		log[length].told = told_;
		f_at = length + 1;
		if
		:: k_ == DECIDED -> must(admitted_once, a_ == log[length].pos); log[length].pos = a_ + 1
		:: k_ == NAMED -> names(a_)
		:: else
		fi
	:: else ->
		log[length].epoch = e_; log[length].n = m_;
		if
		:: k_ == NAMED && NAMES(false) -> names(a_)
		:: else
		fi
	fi;
	length++;
	audit()
}

inline land_state(id_, part_, value_, at_, pos_, told_) {
	must(model_has_room, state_length < STATEMAX);
	state[state_length].id = id_; state[state_length].part = part_;
	state[state_length].value = value_; state[state_length].at = at_;
	state[state_length].pos = pos_; state[state_length].told = told_;
	state_length++;
	audit()
}

/* ---- a worker ---- */

inline abandon() {
	writing = 0; acked = 0; first = 0
#ifdef TWO_AT_ONCE
	; writing_2 = 0; acked_2 = 0; first_2 = 0
#endif
}

inline forget() {
	d_step {
		phase = IDLE; epoch = 0; told_now = 0; seen = 0; from = 0; up_to = 0;
#ifndef OTHER_TERM
		abandon()
#endif
	}
}

inline empty_store() {
	at = 0; pos = 0; told = 0;
#ifndef NOT_EMPTIED
	x = 0; y = 0
#endif
}

#if defined(STORE_BELOW_START)
#define USABLE  (at > 0 || log_start == 0)
#elif defined(STORE_BY_MARK)
#define USABLE  (BELOW(at) >= log_start)
#else
#define USABLE  (NEEDS(at, told) >= log_start)
#endif

/* A standby reads on. */
inline follow() {
	d_step {
		phase == IDLE && at < f_at && at >= log_start ->
		s_at = at; s_epoch = EPOCH(at); s_n = N(at);
		s_pos = pos; s_x = x; s_y = y; s_told = told;
		fold_tail(length - 1);
		at = s_at; pos = s_pos; x = s_x; y = s_y; told = s_told;
		must(state_is_fold, IS_FOLD(at, pos, x, y, told));
		forget_scratch()
	}
}

#ifdef END_FIRST
inline look_at_end() { d_step { phase == IDLE && !USABLE -> up_to = state_length; phase = OPENING } }
#define MAY_LOAD  (phase == OPENING)
#else
#define MAY_LOAD  (phase == IDLE && !USABLE)
#endif

inline load() {
	if
	:: d_step { MAY_LOAD -> empty_store(); seen = log_start; phase = LOADING }
	:: d_step { phase == LOADING -> from = state_start; phase = FROM }
	:: d_step { phase == FROM ->
#ifndef END_FIRST
		up_to = state_length;
#endif
		phase = UP_TO }
	:: d_step {
		phase == UP_TO ->
#ifdef START_LAST
		from = state_start;
#endif
		if
		:: from < state_start -> phase = IDLE           /* it meets a trimmed offset */
		:: else ->
			find_snapshot(from, up_to, seen);
			must(recovers, seen == 0 || (s_found && NEEDS(s_at, s_told) >= seen));
			at = s_at; pos = s_pos; told = s_told;
#if defined(MARK_BEFORE_KEYS)
			phase = HALF;
#elif defined(NOT_EMPTIED)
			x = (s_x -> s_x : x); y = (s_y -> s_y : y); phase = IDLE;
#else
			x = s_x; y = s_y; phase = IDLE;
#endif
			forget_scratch();
			must(state_is_fold, phase == HALF || IS_FOLD(at, pos, x, y, told))
		fi;
		seen = 0; from = 0; up_to = 0
	}
#ifdef MARK_BEFORE_KEYS
	:: d_step { phase == HALF -> x = X(pos); y = Y(pos); phase = IDLE }
#endif
	fi
}

inline elect() {
	atomic {
		phase == IDLE && assigned == me && USABLE ->
		d_step { land(ELECTED, 0, 0, 0, 0); epoch = length - 1; phase = REPLAYING }
		if
		:: true
		:: faults > 0 -> faults--; forget()             /* the report is lost */
		fi
	}
}

/* Which records from `told` up to the election count, as the reader finds, and in truth. */
inline judge(from_) {
	s_i = (from_ < log_start -> log_start : from_);
	s_epoch = EPOCH(from_); s_n = N(from_); s_counted = 0; s_judged = 0;
	do
	:: s_i > epoch -> break
	:: s_i <= epoch && log[s_i].kind == ELECTED -> s_epoch = s_i; s_n = 0; s_i++
	:: s_i <= epoch && log[s_i].kind != ELECTED ->
		if
		:: COUNTS(log[s_i].epoch, log[s_i].n, s_epoch, s_n) ->
			s_n = log[s_i].n; s_judged = s_judged | BIT(s_i)
		:: else
		fi;
		if
		:: log[s_i].counts && s_i >= history -> s_counted = s_counted | BIT(s_i)
		:: else
		fi;
		s_i++
	od;
#ifndef STORE_BELOW_START
	must(untold_known, (s_counted & ~s_judged) == 0)
#endif
}

#ifdef HOLE_IN_REPLAY
#define READABLE  (true)
#else
#define READABLE  USABLE
#endif

inline replay() {
	d_step {
		phase == REPLAYING ->
		if
		:: !READABLE -> phase = IDLE; epoch = 0         /* it meets a trimmed offset */
		:: else ->
			s_at = at; s_epoch = EPOCH(at); s_n = N(at);
			s_pos = pos; s_x = x; s_y = y; s_told = told; g_told = told;
#ifdef NO_EPOCH_IN_STORE
			s_epoch = NO_EPOCH; s_n = 0;
#endif
			fold_tail(epoch);
			at = s_at; pos = s_pos; x = s_x; y = s_y; told = s_told;
			must(state_is_fold, at == epoch + 1 && IS_FOLD(at, pos, x, y, told));
			judge(g_told);
			phase = LEADING
		fi;
		forget_scratch()
	}
}

/* Append a record; either it is acknowledged where it was expected, or the term ends. */
inline append(k, a) {
	d_step { expected = (length == at); land(k, epoch, N(at) + 1, a, told_now) }
	if
	:: expected -> d_step { expected = false; at++; told = told_now; told_now = 0 }
	:: !expected -> forget()
	:: expected && faults > 0 -> faults--; expected = false; forget()       /* the report is lost */
	fi
}

/* What history has acknowledged, when a record is composed: nothing new, all but the last record, or all. */
inline tell() {
	if
	:: told_now = told
	:: at - 1 > epoch && at - 1 > told -> told_now = at - 1
	:: told_now = at
	fi;
	history = (history < told_now -> told_now : history)
}

inline decide() {
	atomic {
		phase == LEADING && pos < COMMANDS ->
		if
		:: pos < commands_start ->
			must(commands_kept, EPOCH(f_at) != epoch);
			forget()
		:: else ->
			tell();
			append(DECIDED, pos);
			if
			:: phase == LEADING ->
				d_step {
					apply(pos, pos, x, y);
					must(state_is_fold, IS_FOLD(at, pos, x, y, told))
				}
			:: else
			fi
		fi
	}
}

/* ---- snapshots ---- */

#define V  snapshot[writing]

inline view() {
	V.at = at; V.pos = pos; V.x = x; V.y = y; V.told = told
}

#ifdef UNACKED_VIEW
#define VIEWABLE  (pos < COMMANDS)
#else
#define VIEWABLE  (true)
#endif

inline begin_snapshot() {
	d_step {
		phase == LEADING && writing == 0 && snapshots < SNAPSHOTS && VIEWABLE ->
		snapshots++; writing = snapshots;
		view();
#ifdef UNACKED_VIEW
		V.at = at + 1;
		apply(pos, V.pos, V.x, V.y);
#endif
		first = NOWHERE
	}
}

#ifdef REORDER
#define NEXT_PART(p)  (!(acked & p))
#else
#define NEXT_PART(p)  (acked == p - 1)
#endif

#ifdef TWO_AT_ONCE
inline turn_to_other() {
	d_step {
		phase == LEADING && (writing != 0 || writing_2 != 0) ->
		s_i = writing; writing = writing_2; writing_2 = s_i;
		s_i = acked; acked = acked_2; acked_2 = s_i;
		s_i = first; first = first_2; first_2 = s_i;
		s_i = 0
	}
}
#endif

/* What is written for the part. */
inline compose() {
	if
#ifdef VIEW_MARK_FIRST
	:: part == CHUNK_X -> value = x
	:: part == CHUNK_Y -> value = y
#else
	:: part == CHUNK_X -> value = V.x
	:: part == CHUNK_Y -> value = V.y
#endif
#ifdef VIEW_MARK_LAST
	:: part == FOOTER -> w_at = at; w_pos = pos; w_told = told
#else
	:: part == FOOTER -> w_at = V.at; w_pos = V.pos; w_told = V.told
#endif
	fi
}

inline write_late() {
	late.id = writing; late.part = part; late.value = value;
	late.at = w_at; late.pos = w_pos; late.told = w_told
}

#ifdef FIRST_IS_CHUNK_0
#define LOWER  (part == CHUNK_X)
#else
#define LOWER  (offset < first)
#endif

inline write() {
	atomic {
		phase == LEADING && writing != 0 && acked != ALL ->
		if
		:: NEXT_PART(CHUNK_X) -> part = CHUNK_X
		:: NEXT_PART(CHUNK_Y) -> part = CHUNK_Y
		:: NEXT_PART(FOOTER) -> part = FOOTER
		fi;
		compose();
		copies = 1; offset = state_length;
		if
		:: true
		:: faults > 0 -> faults--; copies = 2                           /* twice, at once */
		:: faults > 0 -> faults--; copies = 2; offset = state_length + 1
		:: faults > 0 && late.id == 0 -> faults--; write_late()         /* again, and late */
		:: faults > 0 -> faults--; offset = UNKNOWN                     /* no report, but it landed */
		:: faults > 0 -> faults--; offset = UNKNOWN; copies = 0         /* it never lands */
		:: faults > 0 && late.id == 0 -> faults--; offset = UNKNOWN; copies = 0; write_late()
#ifdef NO_OFFSET
		:: faults > 0 -> faults--; offset = NOWHERE                     /* acknowledged, nobody knows where */
#endif
		fi;
		d_step {
			do
			:: copies == 0 -> break
			:: else -> land_state(writing, part, value, w_at, w_pos, w_told); copies--
			od;
			if
			:: offset != UNKNOWN -> acked = acked | part; first = (LOWER -> offset : first)
#if defined(UNKNOWN_IS_WRITTEN)
			:: else -> acked = acked | part
#elif defined(SAME_ID)
			:: else -> acked = 0; first = NOWHERE; view()
#else
			:: else -> abandon()
#endif
			fi;
			part = 0; value = 0; w_at = 0; w_pos = 0; w_told = 0; offset = 0
		}
	}
}

#ifdef NAMED_BEFORE_WRITTEN
#define WRITTEN  (writing != 0 && acked != 0)
#else
#define WRITTEN  (acked == ALL)
#endif

/* What a recovery from this snapshot needs. */
inline say_what_to_keep() {
	V.keep_journal = NEEDS(V.at, V.told);
#ifdef TRIM_UNTOLD
	V.keep_journal = BELOW(V.at);
#endif
#ifdef TOLD_OF_LEADER
	V.keep_journal = NEEDS(V.at, told_now);
#endif
	V.keep_commands = V.pos;
#ifdef COMMANDS_ACKED
	V.keep_commands = pos;
#endif
#ifdef COMMANDS_UNACKED
	V.keep_commands = pos + 1;
#endif
	V.keep_state = first
}

#ifdef TWO_AT_ONCE
#define done_with_it()  writing = 0; acked = 0; first = 0
#else
#define done_with_it()  abandon()
#endif

inline name() {
	atomic {
		phase == LEADING && WRITTEN ->
		tell();
		d_step { say_what_to_keep() }
#ifdef UNFENCED
		d_step { told_now = 0; names(writing); abandon() }
#else
		append(NAMED, writing);
		d_step { done_with_it() }
#endif
	}
}

proctype Worker(byte me) {
	byte phase, epoch;
	byte at, pos, x, y, told;       /* the store */
	byte writing, acked, first;     /* the snapshot under way */
	byte seen, from, up_to;            /* loading */
	bool expected; byte told_now;   /* of an append */
	byte part, value, w_at, w_pos, w_told, copies, offset;  /* of a state write */
#ifdef TWO_AT_ONCE
	byte writing_2, acked_2, first_2;
#endif

end:	do
	:: follow()
#ifdef END_FIRST
	:: look_at_end()
#endif
	:: load()
	:: elect()
	:: replay()
	:: decide()
	:: begin_snapshot()
#ifdef TWO_AT_ONCE
	:: turn_to_other()
#endif
	:: write()
	:: name()
	:: atomic { (phase == LEADING || phase == REPLAYING) && assigned != me -> forget() }  /* it notices */
	:: atomic { crashes > 0 && (phase != IDLE || at > 0) ->
		crashes--;
		forget();
		if
		:: true
		:: at > 0 ->                                    /* an earlier mark, or an empty disk */
			at--;
			do
			:: at > 0 -> at--
			:: at == 0 || log[at - 1].counts -> break
			od;
			pos = POS(at); x = X(pos); y = Y(pos); told = TOLD(at)
		fi }
	od
}

/* ---- whatever else happens ---- */

#define TRIM(start, id, keep) \
	d_step { HAS(named, id) && start < snapshot[id].keep -> start = snapshot[id].keep; audit() }

inline falls_back(start) {
	d_step { faults > 0 && start > 0 -> faults--; start = 0; audit() }
}

proctype World() {
end:	do
	:: atomic { moves > 0 -> moves--; assigned = 1 - assigned }
	:: d_step { late.id != 0 ->
		land_state(late.id, late.part, late.value, late.at, late.pos, late.told);
		late.id = 0; late.part = 0; late.value = 0; late.at = 0; late.pos = 0; late.told = 0 }
	:: TRIM(log_start, 1, keep_journal)
	:: TRIM(state_start, 1, keep_state)
	:: TRIM(log_start, 2, keep_journal)
	:: TRIM(state_start, 2, keep_state)
#if SNAPSHOTS > 2
	:: TRIM(log_start, 3, keep_journal)
	:: TRIM(state_start, 3, keep_state)
#endif
	:: falls_back(log_start)
	:: falls_back(state_start)
	od
}

init {
	atomic { run Worker(0); run Worker(1); run World() }
	timeout -> must(all_done, POS(f_at) == COMMANDS)
}
