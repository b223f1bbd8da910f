// SPDX-License-Identifier: Apache-2.0 OR MIT
/*
 * A process as the kernel sees it, at a kprobe (it renames itself) and at a tracepoint (it asks for its parent's id): names and numbers out
 * of five kernel structs, for comparison with what user space sees. It reads kernels of 32 and 64 bits.
 *
 *   clang -target bpf -g -O2 -c process.bpf.c -o process.bpf.o
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct new_utsname {
	char release[65];
};

struct uts_namespace {
	struct new_utsname name;
};

struct nsproxy {
	struct uts_namespace *uts_ns;
};

struct mm_struct___layout {
	unsigned long start_code, start_stack, arg_start;
};

struct task_struct___family {
	struct task_struct *real_parent;
	struct nsproxy *nsproxy;
	struct mm_struct___layout *mm;
};

#pragma clang attribute pop

/* What was seen. Sizes are the same on every machine, and there is no padding. */
struct observation {
	__u64 start_code;
	__u64 start_stack;
	__u64 arg_start;
	__u32 pid;
	__u32 tgid;
	__u32 ppid;
	__u32 calls;
	char comm[TASK_COMM_LEN];
	char release[64];
};

/* The process to watch: its id in the initial pid namespace, at key 0. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} wanted SEC(".maps");

/* The last observation of the kprobe, at key 0, and of the tracepoint, at key 1. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct observation);
} observations SEC(".maps");

/*
 * Reads a pointer or a long, which has four bytes on some kernels and eight on others. (On a big-endian kernel of 32 bits the value would
 * come out shifted; there is none with BPF's JIT.)
 */
#define READ_LONG(object, member)                                                                                                              \
	({                                                                                                                                     \
		__u64 value_ = 0;                                                                                                              \
		bpf_probe_read_kernel(&value_, bpf_core_field_size((object)->member), &(object)->member);                                     \
		value_;                                                                                                                        \
	})

static __always_inline int observe(__u32 key)
{
	struct task_struct___family *family = (void *)bpf_get_current_task();
	struct task_struct *task = (void *)family, *parent;
	struct mm_struct___layout *mm;
	struct uts_namespace *uts;
	struct nsproxy *nsproxy;
	struct observation *seen;
	__u32 *tgid, zero = 0;

	tgid = bpf_map_lookup_elem(&wanted, &zero);
	seen = bpf_map_lookup_elem(&observations, &key);
	if (!tgid || !seen || *tgid != BPF_CORE_READ(task, tgid))
		return 0;

	parent = (void *)READ_LONG(family, real_parent);
	nsproxy = (void *)READ_LONG(family, nsproxy);
	uts = (void *)READ_LONG(nsproxy, uts_ns);
	mm = (void *)READ_LONG(family, mm);
	seen->pid = BPF_CORE_READ(task, pid);
	seen->tgid = BPF_CORE_READ(task, tgid);
	seen->ppid = BPF_CORE_READ(parent, tgid);
	seen->start_code = READ_LONG(mm, start_code);
	seen->start_stack = READ_LONG(mm, start_stack);
	seen->arg_start = READ_LONG(mm, arg_start);
	bpf_core_read_str(seen->comm, sizeof(seen->comm), &task->comm);
	bpf_core_read_str(seen->release, sizeof(seen->release), &uts->name.release);
	seen->calls++;
	return 0;
}

SEC("kprobe/__set_task_comm")
int at_kprobe(void *context)
{
	return observe(0);
}

SEC("tracepoint/syscalls/sys_enter_getppid")
int at_tracepoint(void *context)
{
	return observe(1);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
