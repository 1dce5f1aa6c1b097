// SPDX-License-Identifier: GPL-2.0
/* Page memory. */
#include <linux/bvec.h>
#include <linux/gfp.h>
#include <linux/mm.h>

#include "block.h"

#ifdef CONFIG_HIGHMEM
#error "A chunk of pages must be mapped as one piece: 64-bit kernels only."
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

void *fer_pages_virt(const struct bio_vec *bvec)
{
	return bvec_virt((struct bio_vec *)bvec);
}
