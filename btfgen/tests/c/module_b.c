#include "module_kernel.h"

struct other_own {
	struct hidden *only_declared;
	struct task *task;
};

struct other_own others[2];

int other_look(struct other_own *own)
{
	return own->task->on_cpu;
}
