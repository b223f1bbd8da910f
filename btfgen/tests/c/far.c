/* Bitfields of which some member is 2 MiB or more from the start: before it, after it, and both. */
#ifdef __clang__
#define TAG(text) __attribute__((btf_decl_tag(text)))
#else
#define TAG(text)
#endif
struct near_bitfields {
    unsigned a : 3;
    unsigned b : 7 TAG("on_b");
    char gap[3000000];
    int far TAG("on_far");
    short last;
};
struct far_bitfields {
    char before[3000000];
    unsigned a : 3;
    unsigned b : 7;
    long mid;
    int c : 5;
    char d[9];
    unsigned long long e : 40 TAG("on_e"), f : 24;
    short end;
    unsigned char g : 7;
};
struct __attribute__((packed)) packed_bitfields {
    char before[2500001];
    unsigned long long a : 13, b : 50;
    unsigned char c;
    int d : 31;
};
#ifndef LAYOUT_ONLY
void set(struct near_bitfields *n, struct far_bitfields *f, struct packed_bitfields *p)
{
    n->a = 5;
    n->b = 99;
    n->far = -7;
    n->last = 12;
    f->a = 6;
    f->b = 77;
    f->mid = -3;
    f->c = -9;
    f->d[4] = 8;
    f->e = 0x123456789aull;
    f->f = 0xabcdef;
    f->end = 300;
    f->g = 100;
    p->a = 0x1abc;
    p->b = 0x2123456789abcull;
    p->c = 200;
    p->d = -12345678;
}
#endif
