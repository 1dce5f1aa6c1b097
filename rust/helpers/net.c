// SPDX-License-Identifier: GPL-2.0
/* Sockets: what include/net/sock.h offers as inlines and struct fields. */
#include <linux/bvec.h>
#include <linux/net.h>
#include <linux/nsproxy.h>
#include <net/inet_sock.h>
#include <net/ipv6.h>
#include <net/net_namespace.h>
#include <net/sock.h>
#include <net/tcp.h>
#include <trace/events/sock.h>

#include "ferrite.h"

/* How long the last words of a connection may wait to be acknowledged. */
#define FER_LAST_WORDS_MS 20000

struct net *fer_net_current(void)
{
	return get_net(current->nsproxy->net_ns);
}

void fer_net_put(struct net *net)
{
	put_net(net);
}

static int fer_addr_to_sockaddr(const struct fer_addr *a,
				struct sockaddr_storage *ss)
{
	memset(ss, 0, sizeof(*ss));
	if (a->family == AF_INET) {
		struct sockaddr_in *sin = (void *)ss;

		sin->sin_family = AF_INET;
		sin->sin_port = htons(a->port);
		memcpy(&sin->sin_addr, a->ip, 4);
		return sizeof(*sin);
	} else {
		struct sockaddr_in6 *sin6 = (void *)ss;

		sin6->sin6_family = AF_INET6;
		sin6->sin6_port = htons(a->port);
		sin6->sin6_scope_id = a->scope;
		memcpy(&sin6->sin6_addr, a->ip, 16);
		return sizeof(*sin6);
	}
}

static void fer_addr_from_sockaddr(struct fer_addr *a,
				   const struct sockaddr_storage *ss)
{
	memset(a, 0, sizeof(*a));
	a->family = ss->ss_family;
	if (ss->ss_family == AF_INET) {
		const struct sockaddr_in *sin = (const void *)ss;

		a->port = ntohs(sin->sin_port);
		memcpy(a->ip, &sin->sin_addr, 4);
	} else if (ss->ss_family == AF_INET6) {
		const struct sockaddr_in6 *sin6 = (const void *)ss;

		a->port = ntohs(sin6->sin6_port);
		a->scope = sin6->sin6_scope_id;
		memcpy(a->ip, &sin6->sin6_addr, 16);
	}
}

/*
 * What TCP's own sockets call, each the same. One that we let go lives on without
 * us, maybe longer than the module, and may still call: TCP does not look in all
 * places whether it is dead (tcp_data_queue() when memory is short), and fragments
 * of what it sent are freed late (sock_wfree()).
 */
static struct fer_sock_ops fer_sk_plain;

int fer_sock_listen(struct net *net, const struct fer_addr *addr, int backlog,
		    struct socket **out)
{
	struct sockaddr_storage ss;
	struct socket *sock;
	int len, err;

	err = sock_create_kern(net, addr->family, SOCK_STREAM, IPPROTO_TCP,
			       &sock);
	if (err)
		return err;
	WRITE_ONCE(fer_sk_plain.data_ready, sock->sk->sk_data_ready);
	WRITE_ONCE(fer_sk_plain.write_space, sock->sk->sk_write_space);
	WRITE_ONCE(fer_sk_plain.state_change, sock->sk->sk_state_change);
	/* Accepted children inherit this and then hold the namespace. */
	sk_net_refcnt_upgrade(sock->sk);
	sock_set_reuseaddr(sock->sk);
	/* The address may come up after the portal. */
	ip_sock_set_freebind(sock->sk);
	len = fer_addr_to_sockaddr(addr, &ss);
	err = kernel_bind(sock, (struct sockaddr_unsized *)&ss, len);
	if (!err)
		err = kernel_listen(sock, backlog);
	if (err) {
		sock_release(sock);
		return err;
	}
	*out = sock;
	return 0;
}

void fer_listener_arm(struct socket *sock, void *user,
		      void (*ready)(struct sock *sk))
{
	struct sock *sk = sock->sk;

	lock_sock(sk);
	write_lock_bh(&sk->sk_callback_lock);
	/* A child copies the whole sock: it must not inherit the pointer. */
	__rcu_assign_sk_user_data_with_flags(sk, user, SK_USER_DATA_NOCOPY);
	sk->sk_data_ready = ready;
	write_unlock_bh(&sk->sk_callback_lock);
	release_sock(sk);
}

void fer_listener_disarm(struct socket *sock)
{
	struct sock *sk = sock->sk;

	lock_sock(sk);
	write_lock_bh(&sk->sk_callback_lock);
	sk->sk_user_data = NULL;
	WRITE_ONCE(sk->sk_data_ready, fer_sk_plain.data_ready);
	write_unlock_bh(&sk->sk_callback_lock);
	release_sock(sk);
}

int fer_sock_accept(struct socket *listener, struct socket **out)
{
	return kernel_accept(listener, out, O_NONBLOCK);
}

bool fer_sk_is_listening(struct sock *sk)
{
	return READ_ONCE(sk->sk_state) == TCP_LISTEN;
}

void *fer_sk_user_data(struct sock *sk)
{
	uintptr_t user = (__force uintptr_t)READ_ONCE(sk->sk_user_data);

	return (void *)(user & SK_USER_DATA_PTRMASK);
}

void fer_sock_prepare(struct socket *sock)
{
	struct sock *sk = sock->sk;

	tcp_sock_set_nodelay(sk);
	lock_sock(sk);
	/* Sends happen in softirq, on top of whatever task was interrupted. */
	sk->sk_allocation = GFP_ATOMIC;
	sk->sk_use_task_frag = false;
	/* See fer_sk_read(). */
	sock_set_flag(sk, SOCK_URGINLINE);
	release_sock(sk);
	sock_set_keepalive(sk);
}

/* A peer that says nothing is asked whether it is there after 5 s, and 3 times more. */
void fer_sk_probe(struct sock *sk)
{
	tcp_sock_set_keepintvl(sk, 5);
	tcp_sock_set_keepcnt(sk, 3);
	tcp_sock_set_keepidle(sk, 5);
}

struct sock *fer_sock_sk(struct socket *sock)
{
	return sock->sk;
}

void fer_sk_hold(struct sock *sk)
{
	sock_hold(sk);
}

void fer_sk_put(struct sock *sk)
{
	sock_put(sk);
}

int fer_sock_name(struct socket *sock, bool peer, struct fer_addr *out)
{
	struct sockaddr_storage ss = {};
	int len;

	len = peer ? kernel_getpeername(sock, (struct sockaddr *)&ss) :
		     kernel_getsockname(sock, (struct sockaddr *)&ss);
	if (len < 0)
		return len;
	fer_addr_from_sockaddr(out, &ss);
	return 0;
}

/* The user data of a socket that was detached: no pointer, but not NULL. */
#define FER_SK_DETACHED ((void *)SK_USER_DATA_NOCOPY)

static void fer_sk_set(struct sock *sk, void *user, const struct fer_sock_ops *ops)
{
	sk->sk_user_data = user;
	WRITE_ONCE(sk->sk_data_ready, ops->data_ready);
	WRITE_ONCE(sk->sk_write_space, ops->write_space);
	sk->sk_state_change = ops->state_change;
}

bool fer_sk_attach(struct sock *sk, void *user, const struct fer_sock_ops *ops)
{
	bool ok = false;

	lock_sock(sk);
	write_lock_bh(&sk->sk_callback_lock);
	/* Not if it was detached meanwhile, and is about to be closed. */
	if (sk->sk_user_data != FER_SK_DETACHED &&
	    (sk->sk_state == TCP_ESTABLISHED ||
	     sk->sk_state == TCP_CLOSE_WAIT)) {
		fer_sk_set(sk, user, ops);
		ok = true;
	}
	write_unlock_bh(&sk->sk_callback_lock);
	release_sock(sk);
	return ok;
}

void fer_sock_detach(struct socket *sock)
{
	struct sock *sk = sock->sk;

	lock_sock(sk);
	write_lock_bh(&sk->sk_callback_lock);
	fer_sk_set(sk, FER_SK_DETACHED, &fer_sk_plain);
	write_unlock_bh(&sk->sk_callback_lock);
	release_sock(sk);
}

void fer_sk_trace_data_ready(struct sock *sk)
{
	trace_sk_data_ready(sk);
}

void fer_sk_callback_lock(struct sock *sk)
{
	read_lock_bh(&sk->sk_callback_lock);
}

void fer_sk_callback_unlock(struct sock *sk)
{
	read_unlock_bh(&sk->sk_callback_lock);
}

bool fer_sk_bh_trylock(struct sock *sk)
{
	bh_lock_sock(sk);
	if (!sock_owned_by_user(sk))
		return true;
	bh_unlock_sock(sk);
	return false;
}

void fer_sk_bh_unlock(struct sock *sk)
{
	bh_unlock_sock(sk);
}

void fer_sk_lock(struct sock *sk)
{
	lock_sock(sk);
}

void fer_sk_unlock(struct sock *sk)
{
	release_sock(sk);
}

bool fer_sk_owned(struct sock *sk)
{
	return sock_owned_by_user_nocheck(sk);
}

/* With the callback lock held. */
bool fer_sk_writeable(struct sock *sk)
{
	if (!sk_stream_is_writeable(sk))
		return false;
	if (sk->sk_socket)
		clear_bit(SOCK_NOSPACE, &sk->sk_socket->flags);
	return true;
}

bool fer_sk_established(struct sock *sk)
{
	return READ_ONCE(sk->sk_state) == TCP_ESTABLISHED;
}

bool fer_sk_rx_pending(struct sock *sk)
{
	return !skb_queue_empty_lockless(&sk->sk_receive_queue);
}

bool fer_sk_tx_idle(struct sock *sk)
{
	return tcp_rtx_and_write_queues_empty(sk);
}

/*
 * Puts off the acknowledgement that TCP has scheduled; fer_sk_pass_ack() is
 * then due. To be called by an actor of tcp_read_sock(), which would send it
 * on its return. What TCP wants to say at once it says, and never is more than
 * this many bytes left without an answer.
 */
#define FER_ACK_MOST 65536

bool fer_sk_hold_ack(struct sock *sk)
{
	struct inet_connection_sock *icsk = inet_csk(sk);
	const struct tcp_sock *tp = tcp_sk(sk);
	u8 pending = icsk->icsk_ack.pending;

	if (!(pending & ICSK_ACK_SCHED) ||
	    (pending & (ICSK_ACK_NOW | ICSK_ACK_NOMEM)) ||
	    !inet_csk_in_pingpong_mode(sk) ||
	    !RB_EMPTY_ROOT(&tp->out_of_order_queue) ||
	    tp->rcv_nxt - tp->rcv_wup > FER_ACK_MOST)
		return false;
	icsk->icsk_ack.pending = pending & ~(ICSK_ACK_SCHED | ICSK_ACK_PUSHED |
					     ICSK_ACK_PUSHED2);
	return true;
}

/*
 * Nothing was sent that told what has come: TCP shall tell it, `now`, or if it
 * is more than TCP would leave without an answer; else a while later.
 */
void fer_sk_pass_ack(struct sock *sk, bool now)
{
	struct inet_connection_sock *icsk = inet_csk(sk);
	const struct tcp_sock *tp = tcp_sk(sk);
	u32 left = tp->rcv_nxt - tp->rcv_wup;

	if (!left || sk->sk_state == TCP_CLOSE)
		return;
	if (now || left > icsk->icsk_ack.rcv_mss) {
		__tcp_send_ack(sk, tp->rcv_nxt, 0);
		return;
	}
	inet_csk_schedule_ack(sk);
	if (!(icsk->icsk_ack.pending & ICSK_ACK_TIMER))
		inet_csk_reset_xmit_timer(sk, ICSK_TIME_DACK, TCP_DELACK_MIN,
					  TCP_RTO_MAX);
}

int fer_sk_read(struct sock *sk, void *ctx, sk_read_actor_t actor)
{
	read_descriptor_t desc = { .arg.data = ctx, .count = 1 };

	/*
	 * What a peer calls urgent is a part of its stream as all else is;
	 * tcp_read_sock() would never get past it.
	 */
	if (unlikely(tcp_sk(sk)->urg_data))
		WRITE_ONCE(tcp_sk(sk)->urg_data, 0);
	return tcp_read_sock(sk, &desc, actor);
}

int fer_sk_sendv(struct sock *sk, struct bio_vec *bv, unsigned int nr,
		 size_t total, size_t skip, bool more)
{
	struct msghdr msg = {
		.msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL | MSG_SPLICE_PAGES |
			     (more ? MSG_MORE : 0),
	};

	iov_iter_bvec(&msg.msg_iter, ITER_SOURCE, bv, nr, total);
	if (skip)
		iov_iter_advance(&msg.msg_iter, skip);
	return tcp_sendmsg_locked(sk, &msg, total - skip);
}

void fer_sock_shut(struct socket *sock, bool abort)
{
	if (abort)
		sock_no_linger(sock->sk);
	else {
		/* TCP keeps what is unsent, but a peer that takes none of it has it
		 * no longer than that; by itself it would for minutes.
		 */
		tcp_sock_set_user_timeout(sock->sk, FER_LAST_WORDS_MS);
		kernel_sock_shutdown(sock, SHUT_RDWR);
	}
}

enum fer_context fer_context(void)
{
	if (in_serving_softirq())
		return FER_SOFTIRQ;
	if (in_softirq() && fer_submit_is_current())
		return FER_BATCH;
	return FER_TASK;
}
