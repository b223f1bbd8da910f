#include "module_kernel.h"

struct task init_task;
wake_t hook;

int wake_up(struct task *task, u32 flags)
{
	return hook ? hook(task, flags) : task->pid;
}
