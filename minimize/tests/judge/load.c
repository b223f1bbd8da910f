// SPDX-License-Identifier: Apache-2.0 OR MIT
/* Loads each program of an object alone into the running kernel, and tells which the kernel takes: `NAME loads` or `NAME fails`. */
#include <bpf/libbpf.h>
#include <stdarg.h>
#include <stdio.h>

static int quiet(enum libbpf_print_level level, const char *format, va_list arguments)
{
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	libbpf_set_print(quiet);
	for (int wanted = 0;; wanted++) {
		struct bpf_object *object = bpf_object__open_file(argv[1], NULL);
		struct bpf_program *program;
		const char *name = NULL;
		int at = 0;

		if (!object)
			return 1;
		bpf_object__for_each_program(program, object) {
			bpf_program__set_autoload(program, at == wanted);
			if (at++ == wanted)
				name = bpf_program__name(program);
		}
		if (!name) {
			bpf_object__close(object);
			return 0;
		}
		printf("%s %s\n", name, bpf_object__load(object) ? "fails" : "loads");
		bpf_object__close(object);
	}
}
