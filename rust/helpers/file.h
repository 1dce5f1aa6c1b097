/* SPDX-License-Identifier: GPL-2.0 */
/* Files: what is an inline or a macro in C, and names as the VFS wants them. See file.c. */
#ifndef FERRITE_FILE_H
#define FERRITE_FILE_H

#include <linux/types.h>

#ifdef __BINDGEN__
#include <linux/fcntl.h>

/* Expression macros, for Rust. */
const int FER_OPEN_DIR = O_RDONLY | O_DIRECTORY;
const int FER_OPEN_READ = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;
const int FER_OPEN_WRITE = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK;
#endif

struct fer_view;
struct file;

const char *fer_file_pr_dir(void);
struct file *fer_file_open(const char *path, int flags);
struct file *fer_file_open_in(struct file *dir, const char *name, int flags);
int fer_file_rename(struct file *dir, const char *from, const char *to);
int fer_file_unlink(struct file *dir, const char *name);
void fer_file_close(struct file *file);
struct fer_view *fer_view_get(void);
void fer_view_put(struct fer_view *view);
int fer_view_block_device(const struct fer_view *view, const char *path,
			  dev_t *dev);
int fer_view_is_dir(const struct fer_view *view, const char *path);

#endif
