/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The thin C side: one function for each kernel facility that is an inline,
 * a macro, or a field of `struct sock` in C and so cannot be called from
 * Rust. No logic lives here.
 */
#ifndef FERRITE_H
#define FERRITE_H

#include <linux/llist.h>
#include <linux/types.h>
#include <linux/workqueue.h>
#include <net/sock.h>

struct bio_vec;
struct page;

/* An endpoint as Rust sees it: addresses in network order. */
struct fer_addr {
	u16 family;	/* AF_INET or AF_INET6 */
	u16 port;	/* host order */
	u32 scope;	/* IPv6 scope id, or 0 */
	u8 ip[16];	/* IPv4 in the first four bytes */
};

struct fer_sock_ops {
	void (*data_ready)(struct sock *sk);
	void (*write_space)(struct sock *sk);
	void (*state_change)(struct sock *sk);
};

/* net.c */
struct net *fer_net_current(void);
void fer_net_put(struct net *net);
int fer_sock_listen(struct net *net, const struct fer_addr *addr, int backlog,
		    struct socket **out);
void fer_listener_arm(struct socket *sock, void *user,
		      void (*ready)(struct sock *sk));
void fer_listener_disarm(struct socket *sock);
int fer_sock_accept(struct socket *listener, struct socket **out);
bool fer_sk_is_listening(struct sock *sk);
void *fer_sk_user_data(struct sock *sk);
void fer_sock_prepare(struct socket *sock);
void fer_sk_probe(struct sock *sk);
struct sock *fer_sock_sk(struct socket *sock);
void fer_sk_hold(struct sock *sk);
void fer_sk_put(struct sock *sk);
int fer_sock_name(struct socket *sock, bool peer, struct fer_addr *out);
bool fer_sk_attach(struct sock *sk, void *user, const struct fer_sock_ops *ops);
void fer_sock_detach(struct socket *sock);
void fer_sk_trace_data_ready(struct sock *sk);
void fer_sk_callback_lock(struct sock *sk);
void fer_sk_callback_unlock(struct sock *sk);
bool fer_sk_bh_trylock(struct sock *sk);
void fer_sk_bh_unlock(struct sock *sk);
void fer_sk_lock(struct sock *sk);
void fer_sk_unlock(struct sock *sk);
bool fer_sk_owned(struct sock *sk);
bool fer_sk_writeable(struct sock *sk);
bool fer_sk_established(struct sock *sk);
bool fer_sk_rx_pending(struct sock *sk);
bool fer_sk_tx_idle(struct sock *sk);
bool fer_sk_hold_ack(struct sock *sk);
void fer_sk_pass_ack(struct sock *sk, bool now);
int fer_sk_read(struct sock *sk, void *ctx, sk_read_actor_t actor);
int fer_sk_sendv(struct sock *sk, struct bio_vec *bv, unsigned int nr,
		 size_t total, size_t skip, bool more);
void fer_sock_shut(struct socket *sock, bool abort);

/* Where code runs: FER_BATCH is the end of a submit thread's batch, with softirqs disabled. */
enum fer_context {
	FER_SOFTIRQ,
	FER_BATCH,
	FER_TASK,
};
enum fer_context fer_context(void);


/* sched.c */
void fer_work_init(struct work_struct *work, work_func_t fn);
struct workqueue_struct *fer_wq_alloc(const char *name, bool bh, bool reclaim);
bool fer_wq_queue(struct workqueue_struct *wq, struct work_struct *work);
int fer_submit_start(void (*run)(struct llist_node *batch));
void fer_submit_stop(void);
void fer_submit_push(struct llist_node *node);
struct fer_after {
	struct fer_after *next;
	void (*fn)(void *arg);
	void *arg;
};
bool fer_submit_is_open(void);
void fer_submit_after(struct fer_after *after);
bool fer_submit_is_current(void);
bool fer_submit_quiet_begin(void);
void fer_submit_quiet_end(void);
struct llist_node *fer_llist_take(struct llist_head *head);
bool fer_llist_push(struct llist_node *node, struct llist_head *head);
bool fer_llist_empty(const struct llist_head *head);

/* misc.c */
bool fer_spin_lock_bh(spinlock_t *lock);
void fer_spin_unlock_bh(spinlock_t *lock, bool bh);
bool fer_spin_trylock_bh(spinlock_t *lock);
u64 fer_now_ns(void);
u64 fer_clock_ns(void);
void fer_random(void *p, size_t len);
u32 fer_crc32c(u32 crc, const void *p, size_t len);
u64 fer_jiffies(void);
u64 fer_jiffies_to_ms(u64 ticks);
unsigned long fer_msecs_to_jiffies(unsigned int msecs);
void fer_sleep_ms(unsigned int ms);
void fer_sleep_us(unsigned int us);
void fer_wq_free(struct workqueue_struct *wq);
struct page *fer_page_alloc_atomic(void);
void fer_page_get(struct page *page);
void fer_page_put(struct page *page);
void *fer_page_address(struct page *page);
/* What is logged: many lines of one leave room for the others. */
enum fer_topic {
	FER_PEERS,
	FER_STORAGE,
	FER_ADMIN,
};
bool fer_ratelimit(enum fer_topic topic);
void fer_wipe(void *p, size_t len);
bool fer_differ(const void *a, const void *b, size_t len);
void fer_settle(void);
unsigned long fer_total_pages(void);
int fer_digest(u32 alg, u8 id, const u8 *secret, size_t secret_len,
	       const u8 *challenge, size_t challenge_len, u8 *out);
void fer_stable_id(const u8 *name, size_t len, u8 *out);
bool fer_module_get(void);
void fer_module_put(void);
void fer_pcpu_stats_add(unsigned int index, u64 n);
u64 fer_pcpu_stats_sum(unsigned int index);
void fer_smp_mb(void);
u64 *fer_pcpu_alloc(unsigned int nr);
void fer_pcpu_free(u64 *numbers);
void fer_pcpu_add(u64 *numbers, unsigned int index, u64 n);
u64 fer_pcpu_sum(const u64 *numbers, unsigned int index);

/* trace.c */

struct fer_trace_command {
	u64 session;
	u64 lba;
	u64 bytes;
	u64 total_ns;
	u64 arrival_ns;
	u64 disk_ns;
	u64 sending_ns;
	u32 lun;
	u8 kind;
	u8 status;
	u8 sense_key;
	u8 aborted;
};

bool fer_trace_command_on(void);
void fer_trace_command(const struct fer_trace_command *c);

#endif
