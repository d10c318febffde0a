/* What every model shares: the kinds of journal records, the one rule that says
 * which of them count, and how a property is asserted.
 *
 * A record counts if and only if its epoch is the newest ELECTED before it, and its
 * n is one more than the last counted n of that epoch. (epoch, n) is all that a reader
 * needs to remember, and it is part of the folded state.
 */

#define NONE      0     /* no record here: a free slot */
#define ELECTED   1     /* the offset at which it lands is the new epoch */
#define DECIDED   2     /* arg: which command was taken */
#define RESULT    3     /* arg: the step whose result it holds */
#define NAMED     4     /* arg: a snapshot that is complete (checkpoint.pml) */

#define NO_EPOCH  255   /* before the first ELECTED nothing counts */

#ifdef NO_EPOCH_CHECK
#define SAME_EPOCH(record_epoch, epoch)  (epoch != NO_EPOCH)
#else
#define SAME_EPOCH(record_epoch, epoch)  (epoch != NO_EPOCH && record_epoch == epoch)
#endif

#ifdef NO_N_CHECK
#define NEXT_N(record_n, n)  (true)
#else
#define NEXT_N(record_n, n)  (record_n == n + 1)
#endif

#define COUNTS(record_epoch, record_n, epoch, n) \
	(SAME_EPOCH(record_epoch, epoch) && NEXT_N(record_n, n))

#define BIT(i)       (1 << (i))
#define HAS(set, i)  (((set) >> (i)) & 1)

/* A property is asserted under its name, so that Spin's report says which one broke.
 * The name is a constant true that is not part of the state. */
#define must(name, condition)  assert(!name || (condition))
