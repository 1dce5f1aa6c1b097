/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Block devices, bios and pages: what is an inline or a macro in C and so
 * cannot be called from Rust. No logic lives here.
 */
#ifndef FERRITE_BLOCK_H
#define FERRITE_BLOCK_H

#include <linux/blk_types.h>
#include <linux/bvec.h>
#include <linux/types.h>

#ifdef __BINDGEN__
#include <linux/blkdev.h>
#include <linux/gfp.h>

/* Expression macros, for Rust. */
const gfp_t FER_GFP_NOIO = GFP_NOIO;
const blk_mode_t FER_BLK_OPEN_READ = BLK_OPEN_READ;
const blk_mode_t FER_BLK_OPEN_WRITE = BLK_OPEN_WRITE;
#endif

struct file;
struct page;
struct percpu_ref;

/*
 * The queue limits of a block device, and what it can do, at one moment.
 * Sizes and lengths are in bytes, but for *_sectors of 512 bytes. 0 means
 * "cannot" or "none" where a limit may be absent.
 */
struct fer_bdev_limits {
	u64 start_sector;
	u64 segment_boundary_mask;
	u64 virt_boundary_mask;
	u32 logical_block_size;
	u32 physical_block_size;
	s32 alignment_offset;
	u32 io_min;
	u32 io_opt;
	u32 max_sectors;
	u32 chunk_sectors;
	u32 max_segments;
	u32 max_segment_size;
	u32 dma_alignment_mask;
	u32 max_discard_sectors;
	u32 max_discard_segments;
	u32 discard_granularity;
	u32 discard_alignment;
	u32 max_write_zeroes_sectors;
	u32 max_write_zeroes_unmap_sectors;
	u32 atomic_write_unit_min_bytes;
	u32 atomic_write_unit_max_bytes;
	u32 atomic_write_max_bytes;
	u32 atomic_write_boundary_bytes;
	u32 nr_requests;
	u32 nr_hw_queues;
	bool write_cache;
	bool fua;
	bool rotational;
	bool read_only;
	bool stable_writes;
	bool is_mq;
	bool nowait;
	bool integrity;
	bool zoned;
	bool elevator;
};

/* pages.c */
struct page *fer_pages_alloc(bool may_sleep, unsigned int order);
void fer_pages_put(const struct bio_vec *bvecs, unsigned int nr);
struct page *fer_stash_get(unsigned int order);
void fer_stash_put(const struct bio_vec *bvecs, unsigned int nr);
void fer_stash_tidy(bool all);
void *fer_spare_get(size_t size);
bool fer_spare_put(void *memory, size_t size);
void *fer_spare_tidy(bool all, unsigned int *cpu);
void *fer_pages_virt(const struct bio_vec *bvec);

/* block.c */
void fer_bdev_limits_read(struct block_device *bdev,
			  struct fer_bdev_limits *out);
bool fer_bdev_read_only(struct block_device *bdev);
bool fer_bdev_gone(struct block_device *bdev);
u64 fer_bdev_sectors(struct block_device *bdev);
void fer_bdev_name(struct block_device *bdev, char *buf, size_t size);
bool fer_bdev_may_block(struct block_device *bdev);
int fer_bdev_driver_sleeps(struct block_device *bdev);
void fer_bdev_release(struct file *file);
void fer_bdev_holder_unlock(struct block_device *bdev);
bool fer_ref_tryget_live(struct percpu_ref *ref);
void fer_ref_put(struct percpu_ref *ref);
bool fer_bdev_look(struct percpu_ref *users, struct block_device *bdev,
		   u64 *sectors, bool *read_only);
void fer_bio_begin(struct bio *bio, void *css, sector_t sector,
		   unsigned int bytes, unsigned int piece, unsigned int done);
void *fer_blkcg_get(const char *path);
void fer_blkcg_put(void *css);
void fer_blkcg_enter(void *css);
bool fer_bio_in_process(void);

#endif
