// SPDX-License-Identifier: GPL-2.0
/* Files. */
#include <linux/cred.h>
#include <linux/dcache.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/mount.h>
#include <linux/namei.h>
#include <linux/slab.h>

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

/* From where a task sees files, and what it may see. */
struct fer_view {
	struct path root;
	const struct cred *cred;
};

struct fer_view *fer_view_get(void)
{
	struct fer_view *view = kmalloc_obj(struct fer_view);

	if (view) {
		get_fs_root(current->fs, &view->root);
		view->cred = get_current_cred();
	}
	return view;
}

void fer_view_put(struct fer_view *view)
{
	path_put(&view->root);
	put_cred(view->cred);
	kfree(view);
}

static int fer_view_look_up(const struct fer_view *view, const char *name,
			    unsigned int flags, struct path *path)
{
	const struct cred *ours = override_creds(view->cred);
	int err;

	err = vfs_path_lookup(view->root.dentry, view->root.mnt, name,
			      flags | LOOKUP_FOLLOW, path);
	revert_creds(ours);
	return err;
}

/* As lookup_bdev(). */
int fer_view_block_device(const struct fer_view *view, const char *name,
			  dev_t *dev)
{
	struct inode *inode;
	struct path path;
	int err;

	err = fer_view_look_up(view, name, 0, &path);
	if (err)
		return err;
	inode = d_backing_inode(path.dentry);
	if (!S_ISBLK(inode->i_mode))
		err = -ENOTBLK;
	else if ((path.mnt->mnt_flags & MNT_NODEV) ||
		 (path.mnt->mnt_sb->s_iflags & SB_I_NODEV))
		err = -EACCES;
	else if (!inode->i_rdev)
		err = -ENODEV;
	else
		*dev = inode->i_rdev;
	path_put(&path);
	return err;
}

int fer_view_is_dir(const struct fer_view *view, const char *name)
{
	struct path path;
	int err;

	err = fer_view_look_up(view, name, LOOKUP_DIRECTORY, &path);
	if (!err)
		path_put(&path);
	return err;
}
