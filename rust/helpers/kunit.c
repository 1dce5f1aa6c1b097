// SPDX-License-Identifier: GPL-2.0
/* What the KUnit suites need of the kernel; in no other build. */
#include <linux/cpu.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/in.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/sched.h>
#include <linux/smp.h>
#include <linux/umh.h>
#include <linux/workqueue.h>
#include <net/sock.h>

#include "ferrite.h"
#include "file.h"
#include "kunit.h"

/* The nth allocation of this task from now on fails, that one alone. */
void fer_kunit_fail_nth(unsigned int n)
{
	WRITE_ONCE(current->fail_nth, n);
}

/* How many allocations are still to come before one fails; ends the count. */
unsigned int fer_kunit_fail_left(void)
{
	unsigned int left = READ_ONCE(current->fail_nth);

	WRITE_ONCE(current->fail_nth, 0);
	return left;
}

unsigned int fer_kunit_cpus(void)
{
	return num_online_cpus();
}

/* Runs f on a CPU with interrupts off, and waits. */
int fer_kunit_in_hardirq(unsigned int cpu, void (*f)(void *data), void *data)
{
	return smp_call_function_single(cpu, f, data, 1);
}

/* Runs f in a task that is bound to a CPU, and waits. */
int fer_kunit_on_cpu(unsigned int cpu, long (*f)(void *data), void *data)
{
	return work_on_cpu(cpu, f, data);
}

struct fer_kunit_soft {
	struct timer_list timer;
	struct completion done;
	void (*f)(void *data);
	void *data;
};

static void fer_kunit_soft_run(struct timer_list *timer)
{
	struct fer_kunit_soft *soft = container_of(timer, struct fer_kunit_soft,
						   timer);

	soft->f(soft->data);
	complete(&soft->done);
}

/* Runs f in a softirq, a timer's, and waits. */
void fer_kunit_in_softirq(void (*f)(void *data), void *data)
{
	struct fer_kunit_soft soft = { .f = f, .data = data };

	init_completion(&soft.done);
	timer_setup_on_stack(&soft.timer, fer_kunit_soft_run, 0);
	mod_timer(&soft.timer, jiffies);
	wait_for_completion(&soft.done);
	timer_delete_sync(&soft.timer);
	timer_destroy_on_stack(&soft.timer);
}

/* A connection to 127.0.0.1. */
int fer_kunit_connect(u16 port, struct socket **out)
{
	struct sockaddr_in sin = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	static struct lock_class_key slock_key, lock_key;
	struct socket *sock;
	int err;

	err = sock_create_kern(&init_net, AF_INET, SOCK_STREAM, IPPROTO_TCP,
			       &sock);
	if (err)
		return err;
	/* Tests send with the other end's lock held, which is no recursion. */
	sock_lock_init_class_and_name(sock->sk, "slock-kunit-peer", &slock_key,
				      "sk_lock-kunit-peer", &lock_key);
	err = kernel_connect(sock, (struct sockaddr_unsized *)&sin, sizeof(sin), 0);
	if (err) {
		sock_release(sock);
		return err;
	}
	*out = sock;
	return 0;
}

int fer_kunit_send(struct socket *sock, const void *p, size_t len)
{
	struct kvec vec = { .iov_base = (void *)p, .iov_len = len };
	struct msghdr msg = { .msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL };

	return kernel_sendmsg(sock, &msg, &vec, 1, len);
}

int fer_kunit_recv(struct socket *sock, void *p, size_t len)
{
	struct kvec vec = { .iov_base = p, .iov_len = len };
	struct msghdr msg = {};

	return kernel_recvmsg(sock, &msg, &vec, 1, len, MSG_DONTWAIT);
}

void fer_kunit_run_backlog(struct sock *sk)
{
	sk_flush_backlog(sk);
}

/* Whether the socket calls a function of this module. */
bool fer_kunit_sk_calls_us(struct sock *sk)
{
	return within_module((unsigned long)sk->sk_data_ready, THIS_MODULE) ||
	       within_module((unsigned long)sk->sk_write_space, THIS_MODULE) ||
	       within_module((unsigned long)sk->sk_state_change, THIS_MODULE);
}

unsigned int fer_kunit_page_refs(struct page *page)
{
	return page_ref_count(page);
}

/* Runs a program of the system, as root, and returns its wait status. */
int fer_kunit_run(const char *a, const char *b, const char *c, const char *d)
{
	char *argv[] = { (char *)a, (char *)b, (char *)c, (char *)d, NULL };
	static char *envp[] = { "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL };

	return call_usermodehelper(a, argv, envp, UMH_WAIT_PROC);
}

int fer_kunit_open(const char *path, bool write, struct file **out)
{
	struct file *file = fer_file_open(path, write ? O_WRONLY : O_RDONLY);

	if (IS_ERR(file))
		return PTR_ERR(file);
	*out = file;
	return 0;
}

ssize_t fer_kunit_read(struct file *file, void *p, size_t len)
{
	loff_t pos = 0;

	return kernel_read(file, p, len, &pos);
}

ssize_t fer_kunit_write(struct file *file, const void *p, size_t len)
{
	loff_t pos = 0;

	return kernel_write(file, p, len, &pos);
}

/* At once: a kernel thread would leave it to a work. */
void fer_kunit_close(struct file *file)
{
	__fput_sync(file);
}
