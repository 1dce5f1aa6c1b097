// SPDX-License-Identifier: GPL-2.0
/* Block devices and bios. */
#include <linux/bio.h>
#include <linux/blk-integrity.h>
#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/blk-cgroup.h>
#include <linux/cgroup.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/percpu-refcount.h>

#include "block.h"

void fer_bdev_limits_read(struct block_device *bdev,
			  struct fer_bdev_limits *out)
{
	struct request_queue *q = bdev_get_queue(bdev);
	const struct queue_limits *lim = &q->limits;

	*out = (struct fer_bdev_limits){
		.start_sector = get_start_sect(bdev),
		.segment_boundary_mask = READ_ONCE(lim->seg_boundary_mask),
		.virt_boundary_mask = READ_ONCE(lim->virt_boundary_mask),
		.logical_block_size = bdev_logical_block_size(bdev),
		.physical_block_size = bdev_physical_block_size(bdev),
		.alignment_offset = bdev_alignment_offset(bdev),
		.io_min = bdev_io_min(bdev),
		.io_opt = bdev_io_opt(bdev),
		.max_sectors = queue_max_sectors(q),
		.chunk_sectors = READ_ONCE(lim->chunk_sectors),
		.max_segments = queue_max_segments(q),
		.max_segment_size = queue_max_segment_size(q),
		.dma_alignment_mask = bdev_dma_alignment(bdev),
		.max_discard_sectors = bdev_max_discard_sectors(bdev),
		.max_discard_segments = queue_max_discard_segments(q),
		.discard_granularity = bdev_discard_granularity(bdev),
		.discard_alignment = bdev_discard_alignment(bdev),
		.max_write_zeroes_sectors = bdev_write_zeroes_sectors(bdev),
		.max_write_zeroes_unmap_sectors =
			bdev_write_zeroes_unmap_sectors(bdev),
		.atomic_write_unit_min_bytes =
			bdev_atomic_write_unit_min_bytes(bdev),
		.atomic_write_unit_max_bytes =
			bdev_atomic_write_unit_max_bytes(bdev),
		.nr_requests = READ_ONCE(q->nr_requests),
		.nr_hw_queues = READ_ONCE(q->nr_hw_queues),
		.write_cache = bdev_write_cache(bdev),
		.fua = bdev_fua(bdev),
		.rotational = bdev_rot(bdev),
		.read_only = bdev_read_only(bdev),
		.stable_writes = bdev_stable_writes(bdev),
		.is_mq = queue_is_mq(q),
		.nowait = bdev_nowait(bdev),
		.integrity = bdev_get_integrity(bdev) != NULL,
		.zoned = bdev_is_zoned(bdev),
		.elevator = READ_ONCE(q->elevator) != NULL,
	};
	if (bdev_can_atomic_write(bdev)) {
		out->atomic_write_max_bytes = queue_atomic_write_max_bytes(q);
		out->atomic_write_boundary_bytes =
			queue_atomic_write_boundary_bytes(q);
	}
}

bool fer_bdev_read_only(struct block_device *bdev)
{
	return bdev_read_only(bdev);
}

bool fer_bdev_gone(struct block_device *bdev)
{
	return test_bit(GD_DEAD, &bdev->bd_disk->state);
}

u64 fer_bdev_sectors(struct block_device *bdev)
{
	return bdev_nr_sectors(bdev);
}

void fer_bdev_name(struct block_device *bdev, char *buf, size_t size)
{
	snprintf(buf, size, "%pg", bdev);
}

/* Whether submitting may sleep in spite of REQ_NOWAIT, although the driver does not. */
bool fer_bdev_may_block(struct block_device *bdev)
{
	return !queue_is_mq(bdev_get_queue(bdev)) || !bdev_nowait(bdev) ||
	       bdev_get_integrity(bdev) || bdev_is_zoned(bdev);
}

/*
 * Whether the driver of a queue of requests sleeps when it is given one: 1 or 0 for
 * good, or -1 if that cannot be told now. The set of tags is the driver's, which may
 * free it before the disk is closed (see disk_release()), but not as long as somebody
 * is in the queue.
 */
int fer_bdev_driver_sleeps(struct block_device *bdev)
{
	struct request_queue *q = bdev_get_queue(bdev);
	int sleeps = -1;

	if (!queue_is_mq(q))
		return 0;
	if (percpu_ref_tryget_live(&q->q_usage_counter)) {
		sleeps = !!(q->tag_set->flags & BLK_MQ_F_BLOCKING);
		percpu_ref_put(&q->q_usage_counter);
	}
	return sleeps;
}

/*
 * Gives the claim back at once, and closes before returning: fput() alone
 * would leave the device busy for a while after that.
 */
void fer_bdev_release(struct file *file)
{
	get_file(file);
	bdev_fput(file);
	__fput_sync(file);
}

void fer_bdev_holder_unlock(struct block_device *bdev)
	__releases(&bdev->bd_holder_lock)
{
	mutex_unlock(&bdev->bd_holder_lock);
}

bool fer_ref_tryget_live(struct percpu_ref *ref)
{
	return percpu_ref_tryget_live(ref);
}

void fer_ref_put(struct percpu_ref *ref)
{
	percpu_ref_put(ref);
}

/*
 * How long the device is now, and whether it can only be read, for less than a
 * reference costs: when the last one of `users` is given back a grace period
 * has passed since the first one was.
 */
bool fer_bdev_look(struct percpu_ref *users, struct block_device *bdev,
		   u64 *sectors, bool *read_only)
{
	bool live;

	rcu_read_lock();
	live = !percpu_ref_is_dying(users);
	if (live) {
		*sectors = bdev_nr_sectors(bdev);
		*read_only = bdev_read_only(bdev);
	}
	rcu_read_unlock();
	return live;
}

/*
 * Where a bio begins, on its device and in its pieces. By position: kernels
 * differ in the name of the last member. The I/O of a peer is nobody's on this
 * host, so it has no cgroup of the submitter, but that of css, or none.
 */
void fer_bio_begin(struct bio *bio, void *css, sector_t sector,
		   unsigned int bytes, unsigned int piece, unsigned int done)
{
	static_assert(offsetof(struct bvec_iter, bi_sector) == 0 &&
		      offsetof(struct bvec_iter, bi_size) == sizeof(sector_t) &&
		      offsetof(struct bvec_iter, bi_idx) == sizeof(sector_t) + 4 &&
		      sizeof(struct bvec_iter) == sizeof(sector_t) + 12);

	bio->bi_iter = (struct bvec_iter){ sector, bytes, piece, done };
#ifdef CONFIG_BLK_CGROUP
	bio_associate_blkg_from_css(bio, css ?: blkcg_root_css);
#endif
}

/*
 * The block controller of the cgroup at path, or an error pointer: EOPNOTSUPP
 * if it has none of its own.
 */
void *fer_blkcg_get(const char *path)
{
#ifdef CONFIG_BLK_CGROUP
	struct cgroup_subsys_state *css;
	struct cgroup *cgroup = cgroup_get_from_path(path);

	if (IS_ERR(cgroup))
		return cgroup;
	css = cgroup_get_e_css(cgroup, &io_cgrp_subsys);
	if (css->cgroup != cgroup) {
		css_put(css);
		css = ERR_PTR(-EOPNOTSUPP);
	}
	cgroup_put(cgroup);
	return css;
#else
	return ERR_PTR(-EOPNOTSUPP);
#endif
}

void fer_blkcg_put(void *css)
{
#ifdef CONFIG_BLK_CGROUP
	css_put(css);
#endif
}

/* What this kernel thread submits is of css, or of none. */
void fer_blkcg_enter(void *css)
{
	kthread_associate_blkcg(css);
}

bool fer_bio_in_process(void)
{
	return !in_interrupt() && !irqs_disabled();
}
