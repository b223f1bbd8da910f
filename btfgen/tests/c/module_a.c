#include "module_kernel.h"

#define __init __attribute__((section(".init.text")))
#define __percpu __attribute__((section(".data..percpu")))

struct hidden {
	struct task *owner;
	struct list waiting;
	double ratio;
};

enum wide { WIDE = 0x100000000ULL, NARROW = 1 };

struct module_own {
	struct task task;
	struct hidden *hidden[4];
	enum wide wide;
	wake_t wake;
	struct module_own *next;
};

/* The first stands at offset 0 of its section. */
u32 first_per_cpu __percpu = 1;
struct module_own second_per_cpu __percpu = { .wide = NARROW };

int module_wake(struct task *task, u32 flags)
{
	return task->pid + flags;
}

u64 module_look(const struct module_own *own)
{
	return own->wide + own->hidden[0]->owner->pid;
}

int __init module_start(void)
{
	return first_per_cpu + second_per_cpu.wide;
}
