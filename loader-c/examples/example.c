// SPDX-License-Identifier: Apache-2.0 OR MIT
/*
 * Loads a BPF object with libbpf, on kernels with and without BTF.
 *
 *   cc example.c $(pkg-config --cflags --libs btfloader libbpf) -o example
 *   BTF_ARCHIVE_URLS=https://btf.example.org ./example program.bpf.o
 */
#include <stdio.h>
#include <bpf/libbpf.h>
#include <btfloader.h>

int main(int argc, char **argv)
{
	LIBBPF_OPTS(bpf_object_open_opts, options);
	struct btfloader_result *btf;
	struct bpf_object *object;

	if (argc != 2)
		return 2;
	if (btfloader_find(NULL, &btf) != BTFLOADER_STATUS_OK)
		return fprintf(stderr, "%s\n", btfloader_message(btf)), 1;
	options.btf_custom_path = btfloader_path(btf);

	object = bpf_object__open_file(argv[1], &options);
	if (!object || bpf_object__load(object))
		return 1;
	printf("loaded, with BTF %s\n", btfloader_message(btf));
	bpf_object__close(object);
	btfloader_free(btf);
	return 0;
}
