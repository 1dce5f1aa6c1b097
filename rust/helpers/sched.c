// SPDX-License-Identifier: GPL-2.0
/* Work items, workqueues and the per-CPU submit threads. */
#include <linux/blkdev.h>
#include <linux/bottom_half.h>
#include <linux/cpuhotplug.h>
#include <linux/interrupt.h>
#include <linux/llist.h>
#include <linux/percpu.h>
#include <linux/sched.h>
#include <linux/sched/clock.h>
#include <linux/smpboot.h>
#include <linux/workqueue.h>

#include "ferrite.h"

void fer_work_init(struct work_struct *work, work_func_t fn)
{
	INIT_WORK(work, fn);
}

struct workqueue_struct *fer_wq_alloc(const char *name, bool bh, bool reclaim)
{
	if (bh)
		return alloc_workqueue("%s", WQ_BH | WQ_PERCPU, 0, name);
	/* As many workers as there may be: proto::lane counts on them. */
	return alloc_workqueue("%s", WQ_UNBOUND | (reclaim ? WQ_MEM_RECLAIM : 0),
			       WQ_MAX_ACTIVE, name);
}

bool fer_wq_queue(struct workqueue_struct *wq, struct work_struct *work)
{
	return queue_work(wq, work);
}

static DEFINE_PER_CPU(struct llist_head, fer_submit_list);
static DEFINE_PER_CPU(struct task_struct *, fer_submit_task);
static void (*fer_submit_run)(struct llist_node *batch);

/* UML does not tell modules what is pending; there it is always looked. */
#ifdef CONFIG_UML
#define fer_softirq_pending() true
#else
#define fer_softirq_pending() local_softirq_pending()
#endif

static int fer_submit_should_run(unsigned int cpu)
{
	return !llist_empty(per_cpu_ptr(&fer_submit_list, cpu));
}

/*
 * What is to be done at the end of the batch of a CPU's thread. Only that
 * thread touches it.
 */
static DEFINE_PER_CPU(struct fer_after_list {
	bool open;
	struct fer_after *first;
	struct fer_after **end;
}, fer_after_list);

/* For how long, in ns, other softirqs wait for that. */
#define FER_AFTER_NS 500000

static void fer_submit_end(struct fer_after *next)
{
	struct fer_after *after;
	u64 begin;

	local_bh_disable();
	begin = next && next->next ? local_clock() : 0;
	while ((after = next)) {
		/* It may be gone, or in a list again, when it is done. */
		next = after->next;
		after->fn(after->arg);
		if (next && local_clock() - begin > FER_AFTER_NS) {
			local_bh_enable();
			cond_resched();
			local_bh_disable();
			begin = local_clock();
		}
	}
	local_bh_enable();
}

static void fer_submit_fn(unsigned int cpu)
{
	struct fer_after_list *list = per_cpu_ptr(&fer_after_list, cpu);
	struct llist_node *batch;
	struct blk_plug plug;

	batch = llist_del_all(per_cpu_ptr(&fer_submit_list, cpu));
	if (!batch)
		return;
	list->first = NULL;
	list->end = &list->first;
	list->open = true;
	blk_start_plug(&plug);
	fer_submit_run(llist_reverse_order(batch));
	blk_finish_plug(&plug);
	list->open = false;
	/* What ended within the batch is answered here and now. */
	if (list->first || fer_softirq_pending())
		fer_submit_end(list->first);
}

/* Whether this is a submit thread within a batch. */
bool fer_submit_is_open(void)
{
	return in_task() && current == raw_cpu_read(fer_submit_task) &&
	       raw_cpu_read(fer_after_list.open);
}

/*
 * Has after->fn(after->arg) called at the end of the batch, with softirqs
 * disabled. fer_submit_is_open() must hold, and it must be in no list.
 */
void fer_submit_after(struct fer_after *after)
{
	struct fer_after_list *list = raw_cpu_ptr(&fer_after_list);

	after->next = NULL;
	*list->end = after;
	list->end = &after->next;
}

/* Whether this is a submit thread, be it interrupted or not. */
bool fer_submit_is_current(void)
{
	return current == raw_cpu_read(fer_submit_task);
}

/*
 * A softirq that is raised within the submission waits for the end of the
 * batch, instead of waking ksoftirqd: fer_submit_fn() sees to it. Returns
 * whether it is so; then fer_submit_quiet_end() is due.
 */
bool fer_submit_quiet_begin(void)
{
	if (!in_task() || current != raw_cpu_read(fer_submit_task))
		return false;
	local_bh_disable();
	return true;
}

void fer_submit_quiet_end(void)
{
	unsigned long flags;

	local_irq_save(flags);
	_local_bh_enable();
	local_irq_restore(flags);
}

static struct smp_hotplug_thread fer_submit_threads = {
	.store = &fer_submit_task,
	.thread_should_run = fer_submit_should_run,
	.thread_fn = fer_submit_fn,
	/* A CPU that goes away takes no command with it. */
	.park = fer_submit_fn,
	.thread_comm = "ferrite/%u",
};

/* A CPU that is gone may have been given commands after its thread had parked. */
static int fer_submit_dead(unsigned int cpu)
{
	struct llist_node *node, *next;

	node = llist_del_all(per_cpu_ptr(&fer_submit_list, cpu));
	for (node = node ? llist_reverse_order(node) : NULL; node; node = next) {
		next = node->next;
		fer_submit_push(node);
	}
	return 0;
}

static int fer_submit_state;

int fer_submit_start(void (*run)(struct llist_node *batch))
{
	int err;

	fer_submit_run = run;
	err = smpboot_register_percpu_thread(&fer_submit_threads);
	if (err)
		return err;
	err = cpuhp_setup_state_nocalls(CPUHP_BP_PREPARE_DYN, "ferrite:dead",
					NULL, fer_submit_dead);
	if (err < 0) {
		smpboot_unregister_percpu_thread(&fer_submit_threads);
		return err;
	}
	fer_submit_state = err;
	return 0;
}

void fer_submit_stop(void)
{
	cpuhp_remove_state_nocalls(fer_submit_state);
	smpboot_unregister_percpu_thread(&fer_submit_threads);
}

void fer_submit_push(struct llist_node *node)
{
	struct task_struct *task;
	int cpu = get_cpu();

	if (llist_add(node, per_cpu_ptr(&fer_submit_list, cpu))) {
		task = per_cpu(fer_submit_task, cpu);
		if (task)
			wake_up_process(task);
	}
	put_cpu();
}

struct llist_node *fer_llist_take(struct llist_head *head)
{
	struct llist_node *batch = llist_del_all(head);

	return batch ? llist_reverse_order(batch) : NULL;
}

bool fer_llist_push(struct llist_node *node, struct llist_head *head)
{
	return llist_add(node, head);
}

bool fer_llist_empty(const struct llist_head *head)
{
	return llist_empty(head);
}
