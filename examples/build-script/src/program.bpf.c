/* Reads the process id of whoever makes a system call. */
#define SEC(name) __attribute__((section(name), used))

struct task_struct {
	int pid;
} __attribute__((preserve_access_index));

static struct task_struct *(*current_task)(void) = (void *)35;
static long (*read_kernel)(void *to, unsigned size, const void *from) = (void *)113;

int last;

SEC("raw_tp/sys_enter")
int observe(void *context)
{
	read_kernel(&last, sizeof(last), &current_task()->pid);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
