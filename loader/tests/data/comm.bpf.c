// SPDX-License-Identifier: Apache-2.0 OR MIT
/* One relocation: the name of a task. */
struct task_struct {
	char comm[16];
} __attribute__((preserve_access_index));

__attribute__((section("raw_tp/sys_enter"), used)) const void *name(struct task_struct *task)
{
	return __builtin_preserve_access_index(&task->comm);
}
