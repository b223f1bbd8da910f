/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The few kernel types that our sample programs read, in place of a vmlinux.h.
 *
 * Each struct names only the members that are used: `preserve_access_index` makes the compiler record every access as a CO-RE relocation, so
 * that offsets, sizes and existence are those of the kernel that the program is loaded on, never those of this file.
 */
#ifndef KERNEL_H
#define KERNEL_H

typedef signed char __s8;
typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef _Bool bool;
#define true 1
#define false 0

/* From the kernel's user-space API, whose numbers never change. */
enum bpf_map_type { BPF_MAP_TYPE_HASH = 1, BPF_MAP_TYPE_ARRAY = 2 };
#define BPF_ANY 0

#define TASK_COMM_LEN 16

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct list_head {
	struct list_head *next, *prev;
};

struct mm_struct {
	unsigned long total_vm;
};

struct task_struct {
	unsigned int flags;
	int prio;
	struct list_head tasks;
	struct mm_struct *mm;
	int exit_code;
	unsigned in_execve : 1;
	unsigned sched_reset_on_fork : 1;
	int pid;
	int tgid;
	char comm[TASK_COMM_LEN];
	struct task_struct *group_leader;
	__u64 start_boottime;
};

/* What `start_boottime` was called before Linux 5.5. */
struct task_struct___before_5_5 {
	__u64 real_start_time;
};

struct sk_buff {
	union {
		struct {
			struct sk_buff *next;
			struct sk_buff *prev;
		};
	};
	unsigned int len;
	__u8 pkt_type : 3;
	__u8 ip_summed : 2;
	__u16 protocol;
};

struct hlist_node {
	struct hlist_node *next, **pprev;
};

struct sock_common {
	union {
		__u64 skc_addrpair;
		struct {
			__be32 skc_daddr;
			__be32 skc_rcv_saddr;
		};
	};
	unsigned short skc_family;
	volatile unsigned char skc_state;
	unsigned char skc_reuse : 4;
};

struct sock {
	struct sock_common __sk_common;
};

struct bpf_prog {
	__u16 pages;
	unsigned int len;
	struct {
		struct {
		} __empty_insns;
		__u64 insns[0];
	};
};

struct cpumask {
	unsigned long bits[1];
};

#pragma clang attribute pop

#endif
