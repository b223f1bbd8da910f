/* What a kernel and its module both see. */
typedef unsigned int u32;
typedef unsigned long long u64;

struct hidden; /* only the module defines it */
struct list {
	struct list *next, *prev;
};
enum state { RUNNING, SLEEPING = 7, DEAD = -1 };

struct task {
	int pid;
	char comm[16];
	u32 on_cpu : 1, queued : 3;
	enum state state;
	struct list children;
	struct task *parent;
	struct hidden *private;
	union {
		u64 start;
		const volatile void *cookie;
	};
	int (*wake)(struct task *task, u32 flags);
};

typedef int (*wake_t)(struct task *, u32);
