// SPDX-License-Identifier: Apache-2.0 OR MIT
/*
 * Loads data/bpf/process.bpf.c with libbpf, attaches it to a kprobe and a tracepoint, lets both watch this process, and compares what they read
 * in the kernel with what user space sees.
 *
 *   cc -O2 -Wall -o libbpf_process libbpf_process.c -lbpf
 *   libbpf_process OBJECT [BTF]      with the BTF that libbpf finds, or with that file's
 *
 * Exit codes: 0 everything read right, 1 could not be loaded or run, 2 usage, 5 loaded and ran, and read something else.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

struct observation {
	uint64_t start_code;
	uint64_t start_stack;
	uint64_t arg_start;
	uint32_t pid;
	uint32_t tgid;
	uint32_t ppid;
	uint32_t calls;
	char comm[16];
	char release[64];
};

static int fail(const char *what, long error)
{
	fprintf(stderr, "libbpf_process: %s: %s (%ld)\n", what, strerror(error < 0 ? -error : error), error);
	return 1;
}

/* This process as /proc shows it: fields 26, 28 and 48 of stat, counted from the name's end. */
static int look_at_myself(struct observation *mine)
{
	char stat[2048] = "", *rest;
	FILE *file = fopen("/proc/self/stat", "r");
	struct utsname uts;

	if (!file || !fgets(stat, sizeof(stat), file) || !(rest = strrchr(stat, ')')))
		return -1;
	fclose(file);
	for (int field = 2; field <= 48; field++) {
		uint64_t *place = field == 26 ? &mine->start_code : field == 28 ? &mine->start_stack : field == 48 ? &mine->arg_start : NULL;

		if (place && sscanf(rest, "%" SCNu64, place) != 1)
			return -1;
		if (!(rest = strchr(rest + 1, ' ')))
			return -1;
	}
	if (uname(&uts))
		return -1;
	snprintf(mine->release, sizeof(mine->release), "%.63s", uts.release);
	mine->pid = mine->tgid = getpid();
	mine->ppid = getppid();
	return 0;
}

static void print(const char *what, const struct observation *seen)
{
	printf("%-10s pid %u, tgid %u, parent %u, comm %.16s, release %.64s, code %" PRIx64 ", stack %" PRIx64 ", arguments %" PRIx64 "\n", what,
	       seen->pid, seen->tgid, seen->ppid, seen->comm, seen->release, seen->start_code, seen->start_stack, seen->arg_start);
}

static int same(const struct observation *a, const struct observation *b)
{
	return a->pid == b->pid && a->tgid == b->tgid && a->ppid == b->ppid && !strncmp(a->comm, b->comm, sizeof(a->comm)) &&
	       !strncmp(a->release, b->release, sizeof(a->release)) && a->start_code == b->start_code && a->start_stack == b->start_stack &&
	       a->arg_start == b->arg_start;
}

int main(int argc, char **argv)
{
	static const char *const names[] = { "at_kprobe", "at_tracepoint" };
	LIBBPF_OPTS(bpf_object_open_opts, options);
	struct observation mine = {}, seen = {};
	struct bpf_program *program;
	struct bpf_object *object;
	uint32_t key = 0, pid = getpid();
	int right = 1;
	long error;

	if (argc != 2 && argc != 3) {
		fprintf(stderr, "usage: libbpf_process OBJECT [BTF]\n");
		return 2;
	}
	options.btf_custom_path = argv[2];
	object = bpf_object__open_file(argv[1], &options);
	if ((error = libbpf_get_error(object)))
		return fail("open", error);
	if ((error = bpf_object__load(object)))
		return fail("load", error);
	if (bpf_map_update_elem(bpf_object__find_map_fd_by_name(object, "wanted"), &key, &pid, BPF_ANY))
		return fail("map `wanted`", -1);
	bpf_object__for_each_program(program, object)
		if ((error = libbpf_get_error(bpf_program__attach(program))))
			return fail(bpf_program__name(program), error);

	/* The kprobe sees the name before it changes: the second time it is the one set the first time. */
	strcpy(mine.comm, "a name of mine");
	prctl(PR_SET_NAME, mine.comm);
	prctl(PR_SET_NAME, mine.comm);
	syscall(SYS_getppid);
	if (look_at_myself(&mine))
		return fail("/proc/self", -5);
	print("expected", &mine);
	for (key = 0; key < 2; key++) {
		if (bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(object, "observations"), &key, &seen))
			return fail("map `observations`", -1);
		print(names[key], &seen);
		right &= seen.calls > 0 && same(&seen, &mine);
	}
	return right ? 0 : 5;
}
