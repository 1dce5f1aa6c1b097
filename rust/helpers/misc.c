// SPDX-License-Identifier: GPL-2.0
/* Time, rate limits, digests, counters. */
#include <crypto/md5.h>
#include <crypto/sha1.h>
#include <crypto/sha2.h>
#include <crypto/sha3.h>
#include <crypto/utils.h>
#include <linux/crc32.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/random.h>
#include <linux/ratelimit.h>
#include <linux/rcupdate.h>
#include <linux/sched/clock.h>
#include <linux/string.h>
#include <linux/utsname.h>

#include "ferrite.h"

struct page *fer_page_alloc_atomic(void)
{
	return alloc_page(GFP_ATOMIC | __GFP_NOWARN);
}

void fer_page_get(struct page *page)
{
	get_page(page);
}

void fer_page_put(struct page *page)
{
	put_page(page);
}

void *fer_page_address(struct page *page)
{
	return page_address(page);
}

/*
 * Within a softirq there are none to be kept off. Returns whether it did, which
 * fer_spin_unlock_bh() has to be told.
 */
bool fer_spin_lock_bh(spinlock_t *lock)
{
	if (in_serving_softirq()) {
		spin_lock(lock);
		return false;
	}
	spin_lock_bh(lock);
	return true;
}

void fer_spin_unlock_bh(spinlock_t *lock, bool bh)
{
	if (bh)
		spin_unlock_bh(lock);
	else
		spin_unlock(lock);
}

bool fer_spin_trylock_bh(spinlock_t *lock)
{
	return spin_trylock_bh(lock);
}

u64 fer_now_ns(void)
{
	return ktime_get_mono_fast_ns();
}

u64 fer_clock_ns(void)
{
	return local_clock();
}

void fer_random(void *p, size_t len)
{
	get_random_bytes(p, len);
}

u32 fer_crc32c(u32 crc, const void *p, size_t len)
{
	return crc32c(crc, p, len);
}

u64 fer_jiffies(void)
{
	return READ_ONCE(jiffies);
}

u64 fer_jiffies_to_ms(u64 ticks)
{
	return jiffies64_to_msecs(ticks);
}

unsigned long fer_msecs_to_jiffies(unsigned int msecs)
{
	return msecs_to_jiffies(msecs);
}

void fer_sleep_ms(unsigned int ms)
{
	msleep(ms);
}

void fer_sleep_us(unsigned int us)
{
	usleep_range(us, us + us / 4);
}

void fer_wq_free(struct workqueue_struct *wq)
{
	destroy_workqueue(wq);
}

bool fer_ratelimit(enum fer_topic topic)
{
#define FER_LIMIT(t) \
	[t] = RATELIMIT_STATE_INIT(t, DEFAULT_RATELIMIT_INTERVAL, DEFAULT_RATELIMIT_BURST)
	static struct ratelimit_state states[] = {
		FER_LIMIT(FER_PEERS),
		FER_LIMIT(FER_STORAGE),
		FER_LIMIT(FER_ADMIN),
	};
#undef FER_LIMIT

	return __ratelimit(&states[topic]);
}

void fer_wipe(void *p, size_t len)
{
	memzero_explicit(p, len);
}

bool fer_differ(const void *a, const void *b, size_t len)
{
	return crypto_memneq(a, b, len);
}

/* Waits until no CPU can still be inside one of our callbacks. */
void fer_settle(void)
{
	synchronize_rcu();
	synchronize_rcu_tasks();
}

unsigned long fer_total_pages(void)
{
	return totalram_pages();
}

/* CHAP (RFC 1994 section 4.1): digest of the identifier, secret, challenge. */
int fer_digest(u32 alg, u8 id, const u8 *secret, size_t secret_len,
	       const u8 *challenge, size_t challenge_len, u8 *out)
{
	switch (alg) {
	case 5: {
		struct md5_ctx ctx;

		md5_init(&ctx);
		md5_update(&ctx, &id, 1);
		md5_update(&ctx, secret, secret_len);
		md5_update(&ctx, challenge, challenge_len);
		md5_final(&ctx, out);
		return MD5_DIGEST_SIZE;
	}
	case 6: {
		struct sha1_ctx ctx;

		sha1_init(&ctx);
		sha1_update(&ctx, &id, 1);
		sha1_update(&ctx, secret, secret_len);
		sha1_update(&ctx, challenge, challenge_len);
		sha1_final(&ctx, out);
		return SHA1_DIGEST_SIZE;
	}
	case 7: {
		struct sha256_ctx ctx;

		sha256_init(&ctx);
		sha256_update(&ctx, &id, 1);
		sha256_update(&ctx, secret, secret_len);
		sha256_update(&ctx, challenge, challenge_len);
		sha256_final(&ctx, out);
		return SHA256_DIGEST_SIZE;
	}
	case 8: {
		struct sha3_ctx ctx;

		sha3_256_init(&ctx);
		sha3_update(&ctx, &id, 1);
		sha3_update(&ctx, secret, secret_len);
		sha3_update(&ctx, challenge, challenge_len);
		sha3_final(&ctx, out);
		return SHA3_256_DIGEST_SIZE;
	}
	default:
		return -EINVAL;
	}
}

/* 32 bytes that this host always gives for this name. */
void fer_stable_id(const u8 *name, size_t len, u8 *out)
{
	const char *node = init_utsname()->nodename;
	struct sha256_ctx ctx;

	sha256_init(&ctx);
	sha256_update(&ctx, (const u8 *)node, strlen(node) + 1);
	sha256_update(&ctx, name, len);
	sha256_final(&ctx, out);
}

bool fer_module_get(void)
{
	return try_module_get(THIS_MODULE);
}

void fer_module_put(void)
{
	module_put(THIS_MODULE);
}

/* Event counters: written by the CPU that saw the event, added up on read. */
#define FER_STATS 64
static DEFINE_PER_CPU(u64[FER_STATS], fer_stats);

void fer_pcpu_stats_add(unsigned int index, u64 n)
{
	if (index < FER_STATS)
		this_cpu_add(fer_stats[index], n);
}

u64 fer_pcpu_stats_sum(unsigned int index)
{
	u64 sum = 0;
	int cpu;

	if (index >= FER_STATS)
		return 0;
	for_each_possible_cpu(cpu)
		sum += per_cpu(fer_stats[index], cpu);
	return sum;
}

void fer_smp_mb(void)
{
	smp_mb();
}

/*
 * Numbers of which every CPU has its own: `nr` of them, all zero. The pointer
 * is one of the per-CPU address space, which Rust does not know.
 */
static u64 __percpu *pcpu_of(const u64 *numbers, unsigned int index)
{
	return (u64 __percpu *)(unsigned long)numbers + index;
}

u64 *fer_pcpu_alloc(unsigned int nr)
{
	return (u64 *)(unsigned long)__alloc_percpu(nr * sizeof(u64),
						    __alignof__(u64));
}

void fer_pcpu_free(u64 *numbers)
{
	free_percpu(pcpu_of(numbers, 0));
}

void fer_pcpu_add(u64 *numbers, unsigned int index, u64 n)
{
	this_cpu_add(*pcpu_of(numbers, index), n);
}

u64 fer_pcpu_sum(const u64 *numbers, unsigned int index)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(*per_cpu_ptr(pcpu_of(numbers, index), cpu));
	return sum;
}
