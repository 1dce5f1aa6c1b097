// SPDX-License-Identifier: GPL-2.0
/* Page memory. */
#include <linux/bvec.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/spinlock.h>
#include <linux/topology.h>

#include "block.h"

#ifndef CONFIG_64BIT
#error "A chunk of pages must be mapped as one piece, and a u64 be read as one: 64-bit kernels only."
#endif

/*
 * More than one page is a wish, not a need: no reclaim for it, the caller
 * falls back to single pages. Those that may sleep fail in the end too, rather
 * than wait for ever. The last reserves are for those who free memory.
 */
struct page *fer_pages_alloc(bool may_sleep, unsigned int order)
{
	gfp_t gfp = may_sleep ? GFP_NOIO : GFP_ATOMIC;

	gfp |= __GFP_NOWARN | __GFP_NOMEMALLOC;
	if (order)
		gfp = (gfp & ~__GFP_DIRECT_RECLAIM) | __GFP_COMP |
		      __GFP_NORETRY;
	else if (may_sleep)
		gfp |= __GFP_RETRY_MAYFAIL;
	return alloc_pages(gfp, order);
}

void fer_pages_put(const struct bio_vec *bvecs, unsigned int nr)
{
	while (nr--)
		put_page(bvecs[nr].bv_page);
}

/*
 * Data pages that are done with, to be used again by this CPU: most kernels
 * clear every page that they allocate. TCP may still have references to them,
 * so the oldest comes first, and only once it is ours alone. The sizes are
 * single pages, and the largest that PageBuf asks for.
 */
#define FER_STASH_ORDER 3
static const unsigned int fer_stash_most[] = { 64, 32 };

static DEFINE_PER_CPU(struct fer_stash {
	spinlock_t lock;
	bool used;
	struct fer_stash_ring {
		unsigned int first;
		unsigned int count;
		struct page *pages[64];
	} ring[2];
}, fer_stash) = {
	.lock = __SPIN_LOCK_UNLOCKED(fer_stash.lock),
};

static struct page *fer_stash_oldest(struct fer_stash_ring *ring, unsigned int most)
{
	struct page *page = ring->pages[ring->first];

	ring->first = (ring->first + 1) % most;
	ring->count--;
	return page;
}

struct page *fer_stash_get(unsigned int order)
{
	struct fer_stash *stash = raw_cpu_ptr(&fer_stash);
	unsigned int size = order ? 1 : 0;
	struct fer_stash_ring *ring = &stash->ring[size];
	struct page *page = NULL;
	unsigned long flags;

	if (order && order != FER_STASH_ORDER)
		return NULL;
	spin_lock_irqsave(&stash->lock, flags);
	stash->used = true;
	if (ring->count && page_ref_count(ring->pages[ring->first]) == 1)
		page = fer_stash_oldest(ring, fer_stash_most[size]);
	spin_unlock_irqrestore(&stash->lock, flags);
	return page;
}

void fer_stash_put(const struct bio_vec *bvecs, unsigned int nr)
{
	struct fer_stash *stash = raw_cpu_ptr(&fer_stash);
	unsigned long flags;

	spin_lock_irqsave(&stash->lock, flags);
	while (nr--) {
		struct page *page = bvecs[nr].bv_page;
		unsigned int order = compound_order(page);
		unsigned int size = order ? 1 : 0;
		unsigned int most = fer_stash_most[size];
		struct fer_stash_ring *ring = &stash->ring[size];

		if ((!order || order == FER_STASH_ORDER) &&
		    page_to_nid(page) == numa_mem_id()) {
			struct page *mine = page;

			page = ring->count == most ? fer_stash_oldest(ring, most) : NULL;
			ring->pages[(ring->first + ring->count++) % most] = mine;
		}
		if (page)
			put_page(page);
	}
	spin_unlock_irqrestore(&stash->lock, flags);
}

/* Gives back what was not used since the last time, or everything. */
void fer_stash_tidy(bool all)
{
	unsigned int cpu, size;
	unsigned long flags;

	for_each_possible_cpu(cpu) {
		struct fer_stash *stash = per_cpu_ptr(&fer_stash, cpu);

		if (!READ_ONCE(stash->ring[0].count) && !READ_ONCE(stash->ring[1].count))
			continue;
		spin_lock_irqsave(&stash->lock, flags);
		for (size = 0; size < 2 && (all || !stash->used); size++)
			while (stash->ring[size].count)
				put_page(fer_stash_oldest(&stash->ring[size],
							  fer_stash_most[size]));
		stash->used = false;
		spin_unlock_irqrestore(&stash->lock, flags);
	}
}

/*
 * Memory of commands that have ended, for the next ones of this CPU; all pieces
 * of a stash have one size. A checking kernel is to see who uses one too long.
 */
#define FER_SPARE_MOST 64

static DEFINE_PER_CPU(struct fer_spare {
	spinlock_t lock;
	bool used;
	unsigned int count;
	size_t size;
	void *all[FER_SPARE_MOST];
}, fer_spare) = {
	.lock = __SPIN_LOCK_UNLOCKED(fer_spare.lock),
};

void *fer_spare_get(size_t size)
{
	struct fer_spare *spare = raw_cpu_ptr(&fer_spare);
	void *memory = NULL;
	unsigned long flags;

	spin_lock_irqsave(&spare->lock, flags);
	if (spare->count && spare->size == size) {
		memory = spare->all[--spare->count];
		spare->used = true;
	}
	spin_unlock_irqrestore(&spare->lock, flags);
	return memory;
}

bool fer_spare_put(void *memory, size_t size)
{
	struct fer_spare *spare = raw_cpu_ptr(&fer_spare);
	unsigned long flags;
	bool kept = false;

	if (IS_ENABLED(CONFIG_KASAN))
		return false;
	spin_lock_irqsave(&spare->lock, flags);
	if (!spare->count)
		spare->size = size;
	if (spare->size == size && spare->count < FER_SPARE_MOST) {
		spare->all[spare->count++] = memory;
		kept = true;
	}
	spin_unlock_irqrestore(&spare->lock, flags);
	return kept;
}

/*
 * One that is to be freed, of those that were not used since the last time, or
 * of all; NULL when there is none. *cpu is where to look next, 0 at first.
 */
void *fer_spare_tidy(bool all, unsigned int *cpu)
{
	void *memory = NULL;
	unsigned long flags;

	for (; *cpu < nr_cpu_ids; ++*cpu) {
		struct fer_spare *spare = per_cpu_ptr(&fer_spare, *cpu);

		if (!cpu_possible(*cpu) || !READ_ONCE(spare->count))
			continue;
		spin_lock_irqsave(&spare->lock, flags);
		if (spare->count && (all || !spare->used))
			memory = spare->all[--spare->count];
		else
			spare->used = false;
		spin_unlock_irqrestore(&spare->lock, flags);
		if (memory)
			return memory;
	}
	return NULL;
}

void *fer_pages_virt(const struct bio_vec *bvec)
{
	return bvec_virt((struct bio_vec *)bvec);
}
