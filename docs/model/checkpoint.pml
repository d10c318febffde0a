/* Checkpoints: the state topic, trimming, the local store, and recovery from each.
 *
 * Theory of operation. The state is two keys, x and y, and the position in the commands.
 * Each command sets one key (the last one sets x again, or deletes it). The leader writes
 * the keys to the compacted state topic after the journal acknowledged them, and when
 * nothing is left to write it appends
 * NAMED to the journal: this checkpoint is complete up to offset `at`, with (epoch, n) and
 * the position there. Once that is acknowledged, at the expected offset like any record,
 * the journal may be trimmed below `at`, and older generations of keys may be deleted.
 *
 * The fence of the state topic is one of
 *  - generations (the default): a key carries the generation of its writer, a new one for
 *    each term. A generation is named once every key of the state was written in it; after
 *    that, changes are enough. After a failed write the writer never writes that
 *    generation again: it steps down. No reader looks at a generation that is not named.
 *  - FENCE_TXN: one transactional.id; its init aborts and shuts out the former writer.
 *    After the init, an append to the journal has to prove that the writer still leads.
 *    It owes every key that changed since the newest NAMED, whatever its own store holds.
 *  - UNFENCED: one of the broken ones.
 *
 * Recovery, after the election: from the local store if the journal still goes back to its
 * position; otherwise look through the journal for the NAMED with the highest `at`, whether it
 * counts or not (a reader can't tell before it knows (epoch, n); but what a NAMED says is
 * true for good, and the highest is the newest), load its generation, look whether a
 * newer leader was elected meanwhile (it may have deleted or overwritten keys under the reader's
 * hands), and fold the tail up to the own ELECTED. The log's start is no checkpoint, and may fall back.
 *
 * An append and its report are one action here (or the report is lost: FAULTS); what
 * leader.pml shows about late appends is not shown again. Actions of their own are: writing
 * each key, naming, trimming, deleting, loading each key, folding, flushing; between any
 * two a worker may pause, be deposed without knowing it, and go on.
 * State writes may fail and land late (FAULTS). CRASHES lose the memory, or the disk as well.
 * Compaction is as eager as can be: only the newest value of a key exists.
 *
 * Properties:
 *  - topics_suffice   after every change of a topic, a machine with an empty disk that read
 *                     the topics at that moment would have the state of the journal's fold;
 *  - state_is_fold    a leader's state is the fold, after recovery and after each record;
 *  - store_is_fold    so is what a local store says, at its position;
 *  - admitted_once    every command counts once, in order;
 *  - checkpoint_found a trimmed journal always has a checkpoint;
 *  - all_done         in every end state all commands are in the fold.
 */

#include "fence.h"

#ifndef COMMANDS
#define COMMANDS 3
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
#define LOGMAX 20       /* asserted never to be reached */
#endif
#ifndef TERMS
#ifdef FENCE_TXN
#define TERMS 10        /* likewise; whoever finds its producer fenced is elected again */
#else
#define TERMS 6
#endif
#endif

/* The true values at a position. Command 0 sets x, 1 sets y, 2 sets x again or deletes it. */
#ifdef DELETES
#define X(p)  (p >= 3 -> 0 : (p >= 1 -> 1 : 0))
#else
#define X(p)  (p >= 3 -> 3 : (p >= 1 -> 1 : 0))
#endif
#define Y(p)  (p >= 2 -> 2 : 0)
#define KEY_X      1
#define KEY_Y      2
#define KEY(c)     (c == 1 -> KEY_Y : KEY_X)

#define OFF        0
#define CHOOSING   1
#define LOADING_X  2
#define LOADING_Y  3
#define FOLDING    4
#define LEADING    5

#define PROOF      5     /* a record that says nothing (FENCE_TXN) */

hidden byte topics_suffice = true, state_is_fold = true, store_is_fold = true;
hidden byte admitted_once = true, checkpoint_found = true, all_done = true, model_has_room = true;

typedef Record {
	byte kind; byte epoch; byte n; byte arg;        /* arg: the command, or the generation */
	byte at; byte at_pos;                           /* NAMED: complete up to here */
	byte pos                                        /* the reference, after this record */
};
typedef Keys { byte x; byte y };

Record log[LOGMAX];
byte   length, log_start;
byte   f_epoch = NO_EPOCH, f_n, f_pos;
byte   terms;                   /* stands for the epoch where it names a generation */
Keys   state_topic[TERMS];

byte   assigned;
byte   moves = MOVES, faults = FAULTS, crashes = CRASHES;

bool   late_some;               /* a state write that nobody waits for */
byte   late_gen, late_key, late_value;

#ifdef FENCE_TXN
byte   producer_epoch, tx_keys, tx_x, tx_y;     /* the transaction that is open */
#ifdef STALE_ENDTXN
byte   stale_end;               /* an EndTxn under way of this producer epoch */
bool   torn;
#endif
#endif

#if defined(FENCE_TXN) || defined(UNFENCED)
#define GENERATION(g)  0
#define OWED_AT_START  owed_since_named
#else
#define GENERATION(g)  g
#define OWED_AT_START  (KEY_X | KEY_Y)
#endif

/* ---- what any reader does; the scratch variables are hidden, and mean nothing outside ---- */

hidden byte s_i, s_at, s_epoch, s_n, s_pos, s_gen, s_x, s_y, s_owed;
hidden byte s_found;

#ifdef LAST_NAMED_WINS
#define NEWER(i)  (true)
#else
#define NEWER(i)  (!s_found || log[i].at > s_at)
#endif

/* The newest checkpoint that the journal names. */
inline find_named() {
	s_i = log_start; s_found = false; s_at = 0; s_epoch = NO_EPOCH; s_n = 0; s_pos = 0; s_gen = 0;
	do
	:: s_i >= length -> break
	:: s_i < length && log[s_i].kind == NAMED && NEWER(s_i) ->
		s_found = true; s_at = log[s_i].at; s_pos = log[s_i].at_pos; s_gen = log[s_i].arg;
#ifndef NO_EPOCH_IN_CHECKPOINT
		s_epoch = log[s_i].epoch; s_n = log[s_i].n - 1;
#endif
		s_i++
	:: else -> s_i++
	od
}

/* Fold the journal from s_at up to `until`, over what is in the scratch variables. */
inline fold_tail(until) {
	s_i = (s_at < log_start -> log_start : s_at); s_owed = 0;
	do
	:: s_i > until -> break
	:: s_i <= until && log[s_i].kind == ELECTED -> s_epoch = s_i; s_n = 0; s_i++
	:: s_i <= until && log[s_i].kind != ELECTED ->
		if
		:: COUNTS(log[s_i].epoch, log[s_i].n, s_epoch, s_n) ->
			s_n = log[s_i].n;
			if
			:: log[s_i].kind == DECIDED ->
				s_pos = log[s_i].arg + 1;
				s_owed = s_owed | KEY(log[s_i].arg);
				if
				:: KEY(log[s_i].arg) == KEY_X -> s_x = X(s_pos)
				:: else -> s_y = Y(s_pos)
				fi
			:: else
			fi
		:: else
		fi;
		s_i++
	od
}

inline forget_scratch() {
	s_i = 0; s_at = 0; s_epoch = 0; s_n = 0; s_pos = 0; s_gen = 0; s_x = 0; s_y = 0; s_owed = 0;
	s_found = false
}

/* An empty machine, reading everything at this very moment. */
inline audit() {
	if
	:: length > 0 ->
		find_named();
		must(checkpoint_found, s_found || log_start == 0);
		must(topics_suffice, s_at >= log_start);
		s_x = (s_found -> state_topic[GENERATION(s_gen)].x : 0);
		s_y = (s_found -> state_topic[GENERATION(s_gen)].y : 0);
		fold_tail(length - 1);
		must(topics_suffice, s_pos == f_pos && s_x == X(f_pos) && s_y == Y(f_pos));
		must(topics_suffice, s_epoch == f_epoch && s_n == f_n);
		forget_scratch()
	:: else
	fi
}

/* ---- the broker ---- */

inline land(k_, e_, m_, a_, at_, pos_) {
	must(model_has_room, length < LOGMAX);
	log[length].kind = k_; log[length].epoch = e_; log[length].n = m_; log[length].arg = a_;
	log[length].at = at_; log[length].at_pos = pos_;
	if
	:: k_ == ELECTED -> f_epoch = length; f_n = 0
	:: k_ != ELECTED && COUNTS(e_, m_, f_epoch, f_n) ->
		f_n = m_;
		if
		:: k_ == DECIDED -> must(admitted_once, a_ == f_pos); f_pos = a_ + 1
		:: else
		fi
	:: else
	fi;
	log[length].pos = f_pos;
	length++
}

inline write(g_, k_, v_) {
#ifdef GENERATION_IN_VALUE
	/* The key is the same for all writers: compaction keeps the newest write. */
	s_i = 0;
	do
	:: s_i == TERMS -> break
	:: else ->
		if
		:: k_ == KEY_X -> state_topic[s_i].x = 0
		:: else -> state_topic[s_i].y = 0
		fi;
		s_i++
	od;
#endif
	if
	:: k_ == KEY_X -> state_topic[g_].x = v_
	:: else -> state_topic[g_].y = v_
	fi;
	audit()
}

/* ---- a worker ---- */

inline forget() {
	d_step {
		phase = OFF; epoch = 0; generation = 0; n = 0; next = 0; pos = 0; x = 0; y = 0;
		owed = 0; deleted = 0; named = 0; named_pos = 0; is_named = false;
		base_at = 0; base_epoch = 0; base_n = 0;
#ifdef FENCE_TXN
		my_producer = 0; proved = false; open = false
#endif
	}
}

inline elect() {
	atomic {
		phase == OFF && assigned == me ->
		d_step {
			must(model_has_room, terms < TERMS - 1);
			terms++;
			land(ELECTED, 0, 0, 0, 0, 0);
			audit();
			epoch = length - 1; generation = terms
		}
		if
		:: phase = CHOOSING
		:: faults > 0 -> faults--; forget()             /* the report is lost */
		fi
	}
}

#ifdef STORE_BEHIND_LOG_START
#define STORE_USABLE  (store_some)
#else
#define STORE_USABLE  (store_some && store_at >= log_start)
#endif

inline choose() {
	atomic {
		phase == CHOOSING ->
		d_step {
			find_named();
			if
			:: STORE_USABLE ->
				base_at = store_at; base_epoch = store_epoch; base_n = store_n;
				pos = store_pos; x = store_x; y = store_y;
#ifdef NO_EPOCH_IN_STORE
				base_epoch = NO_EPOCH; base_n = 0;
#endif
				from_topic = false;
				phase = FOLDING
			:: else ->
				base_at = s_at; base_epoch = s_epoch; base_n = s_n;
				pos = s_pos; x = 0; y = 0; base_gen = s_gen; from_topic = true;
				must(checkpoint_found, s_found || log_start == 0);
				phase = (s_found -> LOADING_X : FOLDING)
			fi;
			forget_scratch()
		}
		if
		:: base_at > epoch + 1 -> forget()              /* named by a newer leader */
		:: else
		fi
	}
}

inline fold_up_to_election() {
	d_step {
		phase == FOLDING ->
		find_named();
		if
#ifndef STORE_BEHIND_LOG_START
		:: base_at < log_start -> phase = CHOOSING      /* trimmed meanwhile */
#endif
#ifndef NO_SECOND_LOOK
		:: base_at >= log_start && from_topic && f_epoch != epoch ->    /* deposed */
			phase = OFF; epoch = 0; generation = 0
#endif
		:: else ->
			/* What is owed to the state topic: everything that changed since the newest
			 * checkpoint, also if the store is further. */
#ifdef OWED_FROM_STORE
			owed_since_named = 0;
#else
			fold_tail(epoch);
			owed_since_named = s_owed;
#endif
			s_at = base_at; s_epoch = base_epoch; s_n = base_n; s_pos = pos; s_x = x; s_y = y;
			fold_tail(epoch);
			owed_since_named = owed_since_named | s_owed;
			must(state_is_fold, s_epoch == epoch && s_n == 0);
			pos = s_pos; x = s_x; y = s_y;
			must(state_is_fold, pos == log[epoch].pos && x == X(pos) && y == Y(pos));
			n = 1; next = epoch + 1; owed = OWED_AT_START;
			phase = LEADING
		fi;
		if
		:: phase != LEADING -> pos = 0; x = 0; y = 0
		:: else
		fi;
		base_at = 0; base_epoch = 0; base_n = 0; base_gen = 0;
		from_topic = false; owed_since_named = 0;
		forget_scratch()
	}
}

/* Append a record; either it is acknowledged where it was expected, or the term ends. */
inline append(k, a) {
	d_step {
		acked_at = length;
		land(k, epoch, n, a, next, pos);
		audit()
	}
	if
	:: acked_at == next -> n++; next++; acked_at = 0
	:: acked_at != next -> acked_at = 0; forget()
	:: faults > 0 -> faults--; acked_at = 0; forget()               /* the report is lost */
	fi
}

inline decide() {
	atomic {
		phase == LEADING && pos < COMMANDS ->
		append(DECIDED, pos);
		if
		:: phase == LEADING ->
			d_step {
				owed = owed | KEY(pos);
				pos++;
				x = X(pos); y = Y(pos);
				must(state_is_fold, log[next - 1].pos == pos)
			}
		:: else
		fi
	}
}

#if defined(FENCE_TXN)

inline init_producer() {
	d_step {
		phase == LEADING && my_producer == 0 && owed != 0 ->
		producer_epoch++; my_producer = producer_epoch;
		tx_keys = 0; tx_x = 0; tx_y = 0;
#ifdef STALE_ENDTXN
		torn = false; stale_end = 0;
#endif
#ifdef INIT_WITHOUT_PROOF
		proved = true
#endif
	}
}

/* A deposed leader that wakes up may be the last to init, and shut out its successor. An
 * append acknowledged after the init shows that no successor was elected before it. */
inline prove() {
	atomic {
		phase == LEADING && my_producer != 0 && !proved ->
		append(PROOF, 0);
		if
		:: phase == LEADING -> proved = true
		:: else
		fi
	}
}

inline write_key(k, v) {
	atomic {
		phase == LEADING && proved && (owed & k) ->
		if
		:: my_producer == producer_epoch ->
			d_step {
				owed = owed & ~k; open = true;
				if
#ifdef STALE_ENDTXN
				:: torn                         /* in no transaction: it hangs */
#endif
				:: else ->
					tx_keys = tx_keys | k;
					if
					:: k == KEY_X -> tx_x = x
					:: else -> tx_y = y
					fi
				fi
			}
		:: else -> forget()                             /* fenced */
		fi
	}
}

inline commit_now() {
	if
	:: tx_keys & KEY_X -> state_topic[0].x = tx_x
	:: else
	fi;
	if
	:: tx_keys & KEY_Y -> state_topic[0].y = tx_y
	:: else
	fi;
	tx_keys = 0; tx_x = 0; tx_y = 0;
	audit()
}

inline commit() {
	atomic {
		phase == LEADING && open ->
		if
		:: my_producer != producer_epoch -> forget()    /* fenced */
		:: my_producer == producer_epoch ->
			d_step {
				open = false; commit_now();
#ifdef STALE_ENDTXN
				torn = false
#endif
			}
		:: my_producer == producer_epoch && faults > 0 ->       /* the report is lost */
			faults--;
			if
			:: d_step { commit_now() }
			:: true
			fi;
			forget()
#ifdef STALE_ENDTXN
		:: my_producer == producer_epoch && faults > 0 ->       /* asked twice */
			faults--;
			d_step { open = false; stale_end = my_producer; commit_now() }
#endif
		fi
	}
}

#define WRITTEN  (owed == 0 && !open)

#else

/* Nobody waits for this write any more: it lands at once, later, or never. */
inline forsake_write(k_, v_) {
	if
	:: d_step { write(GENERATION(generation), k_, v_) }
	:: !late_some -> d_step {
		late_some = true; late_gen = GENERATION(generation); late_key = k_; late_value = v_ }
	:: true
	fi
}

inline write_key(k_, v_) {
	atomic {
		phase == LEADING && (owed & k_) ->
		if
		:: d_step { owed = owed & ~k_; write(GENERATION(generation), k_, v_) }
		:: faults > 0 ->
			faults--;
			forsake_write(k_, v_);
#ifndef SAME_GENERATION_AFTER_ERROR
			forget()
#endif
		fi
	}
}

#define WRITTEN  (owed == 0)

#endif

#ifdef NAMED_BEFORE_WRITTEN
#define MAY_NAME  (true)
#else
#define MAY_NAME  WRITTEN
#endif

inline name() {
	atomic {
		phase == LEADING && MAY_NAME && (!is_named || named_pos < pos) ->
		append(NAMED, generation);
		if
		:: phase == LEADING -> is_named = true; named = next - 1; named_pos = pos
		:: else
		fi
	}
}

inline trim() {
	d_step {
#ifdef TRIM_BEFORE_NAMED
		phase == LEADING && WRITTEN && next > log_start -> log_start = next;
#else
		phase == LEADING && is_named && named > log_start -> log_start = named;
#endif
		audit()
	}
}

#if !defined(FENCE_TXN) && !defined(UNFENCED)
/* Older generations are of no use any more. */
inline delete_older(key, field) {
	d_step {
#ifdef DELETE_BEFORE_NAMED
		phase == LEADING && generation > 1 && !(deleted & key) ->
#else
		phase == LEADING && is_named && generation > 1 && !(deleted & key) ->
#endif
		deleted = deleted | key;
		s_i = 1;
		do
		:: s_i == generation -> break
		:: else -> state_topic[s_i].field = 0; s_i++
		od;
		s_i = 0;
		audit()
	}
}
#endif

inline flush() {
	d_step {
		phase == LEADING && (!store_some || store_at < next) ->
		store_some = true; store_at = next; store_epoch = epoch; store_n = n - 1;
#ifdef POSITION_FIRST
		half_flushed = true
#else
		store_pos = pos; store_x = x; store_y = y;
		must(store_is_fold, log[store_at - 1].pos == store_pos
			&& store_x == X(store_pos) && store_y == Y(store_pos))
#endif
	}
}

proctype Worker(byte me) {
	byte phase, epoch, generation, n, next, pos, x, y;
	byte owed;                      /* keys that the state topic does not have yet */
	byte deleted;                   /* keys whose older generations are deleted */
	bool is_named; byte named, named_pos;
	byte base_at, base_epoch, base_n, base_gen, owed_since_named;
	bool from_topic;
	byte acked_at;
	bool store_some; byte store_at, store_epoch, store_n, store_pos, store_x, store_y;
#ifdef FENCE_TXN
	byte my_producer; bool proved, open;
#endif
#ifdef POSITION_FIRST
	bool half_flushed;
#endif

end:	do
	:: elect()
	:: choose()
	:: d_step { phase == LOADING_X -> x = state_topic[GENERATION(base_gen)].x; phase = LOADING_Y }
	:: d_step { phase == LOADING_Y -> y = state_topic[GENERATION(base_gen)].y; phase = FOLDING }
	:: fold_up_to_election()
	:: decide()
#ifdef FENCE_TXN
	:: init_producer()
	:: prove()
	:: commit()
#endif
	:: write_key(KEY_X, x)
	:: write_key(KEY_Y, y)
	:: name()
	:: trim()
#if !defined(FENCE_TXN) && !defined(UNFENCED)
	:: delete_older(KEY_X, x)
	:: delete_older(KEY_Y, y)
#endif
	:: flush()
#ifdef POSITION_FIRST
	:: d_step { half_flushed && phase == LEADING ->
		half_flushed = false; store_at = next; store_epoch = epoch; store_n = n - 1;
		store_pos = pos; store_x = x; store_y = y }
#endif
	:: atomic { phase != OFF && assigned != me -> forget() }        /* it notices */
	:: atomic { crashes > 0 && (phase != OFF || store_some) ->
		crashes--;
		forget();
		if
		:: true
		:: d_step { store_some -> store_some = false; store_at = 0; store_epoch = 0; store_n = 0;
			store_pos = 0; store_x = 0; store_y = 0 }       /* the disk as well */
		fi }
	od
}

proctype World() {
end:	do
	:: atomic { moves > 0 -> moves--; assigned = 1 - assigned }
#ifndef FENCE_TXN
	:: d_step { late_some ->
		write(late_gen, late_key, late_value);
		late_some = false; late_gen = 0; late_key = 0; late_value = 0 }
#endif
#if defined(FENCE_TXN) && defined(STALE_ENDTXN)
	:: d_step { stale_end != 0 && stale_end == producer_epoch && tx_keys != 0 ->
		stale_end = 0; torn = true; commit_now() }
#endif
	:: d_step { faults > 0 && log_start > 0 -> faults--; log_start = 0; audit() }  /* it falls back */
	od
}

init {
	atomic { run Worker(0); run Worker(1); run World() }
	timeout -> must(all_done, f_pos == COMMANDS)
}
