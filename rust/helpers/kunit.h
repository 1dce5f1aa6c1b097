/* SPDX-License-Identifier: GPL-2.0 */
/* What the KUnit suites need of the kernel; in no other build. */
#ifndef FERRITE_KUNIT_H
#define FERRITE_KUNIT_H

#include <linux/types.h>

struct file;
struct page;
struct sock;
struct socket;

void fer_kunit_fail_nth(unsigned int n);
unsigned int fer_kunit_fail_left(void);
unsigned int fer_kunit_cpus(void);
int fer_kunit_in_hardirq(unsigned int cpu, void (*f)(void *data), void *data);
int fer_kunit_on_cpu(unsigned int cpu, long (*f)(void *data), void *data);
void fer_kunit_in_softirq(void (*f)(void *data), void *data);
int fer_kunit_connect(u16 port, struct socket **out);
int fer_kunit_send(struct socket *sock, const void *p, size_t len);
int fer_kunit_recv(struct socket *sock, void *p, size_t len);
void fer_kunit_run_backlog(struct sock *sk);
bool fer_kunit_sk_calls_us(struct sock *sk);
unsigned int fer_kunit_page_refs(struct page *page);
int fer_kunit_run(const char *a, const char *b, const char *c, const char *d);
int fer_kunit_open(const char *path, bool write, struct file **out);
ssize_t fer_kunit_read(struct file *file, void *p, size_t len);
ssize_t fer_kunit_write(struct file *file, const void *p, size_t len);
void fer_kunit_close(struct file *file);

#endif
