/* Bitfields of enums wider than 32 bits: the kernel takes no such thing of an ENUM64. */
enum big { BIG = 1ULL << 40, SMALL = 2 };
enum below { BELOW = -(1LL << 40) };

struct wide {
    enum big big : 41;
    enum below below : 42;
    enum big narrow : 3;
    int rest;
};

struct wide wide;
