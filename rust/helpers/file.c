// SPDX-License-Identifier: GPL-2.0
/* Files. */
#include <linux/dcache.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mount.h>
#include <linux/namei.h>

#include "file.h"

static char *pr_dir = "/var/lib/ferrite/pr";
module_param(pr_dir, charp, 0444);
MODULE_PARM_DESC(pr_dir,
		 "Directory for reservations that survive a loss of power (default: /var/lib/ferrite/pr)");

const char *fer_file_pr_dir(void)
{
	return pr_dir;
}

/*
 * An absolute path as init sees it, whoever asks: since Linux 7.3 a kernel thread's own root
 * is empty.
 */
struct file *fer_file_open(const char *path, int flags)
{
#ifdef scoped_with_init_fs
	struct file *file = ERR_PTR(-EINVAL);

	scoped_with_init_fs()
		file = filp_open(path, flags, 0600);
	return file;
#else
	return filp_open(path, flags, 0600);
#endif
}

struct file *fer_file_open_in(struct file *dir, const char *name, int flags)
{
	return file_open_root(&dir->f_path, name, flags, 0600);
}

/* Takes the place of `to` if that exists. Both are in `dir`. */
int fer_file_rename(struct file *dir, const char *from, const char *to)
{
	struct vfsmount *mnt = dir->f_path.mnt;
	struct renamedata rd = {
		.mnt_idmap = mnt_idmap(mnt),
		.old_parent = dir->f_path.dentry,
		.new_parent = dir->f_path.dentry,
	};
	int err = mnt_want_write(mnt);

	if (err)
		return err;
	err = start_renaming(&rd, 0, &QSTR(from), &QSTR(to));
	if (!err) {
		err = vfs_rename(&rd);
		end_renaming(&rd);
	}
	mnt_drop_write(mnt);
	return err;
}

int fer_file_unlink(struct file *dir, const char *name)
{
	struct vfsmount *mnt = dir->f_path.mnt;
	struct dentry *parent = dir->f_path.dentry;
	struct dentry *dentry;
	int err = mnt_want_write(mnt);

	if (err)
		return err;
	dentry = start_removing(mnt_idmap(mnt), parent, &QSTR(name));
	if (IS_ERR(dentry)) {
		err = PTR_ERR(dentry);
	} else {
		err = vfs_unlink(mnt_idmap(mnt), d_inode(parent), dentry, NULL);
		end_removing(dentry);
	}
	mnt_drop_write(mnt);
	return err;
}

/* It is closed when this returns. */
void fer_file_close(struct file *file)
{
	__fput_sync(file);
}
