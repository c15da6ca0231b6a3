#include "crc32c.h"

#include <string.h>

uint32_t crc32c_extend_portable(uint32_t crc, const void *bytes, size_t count) {
    // The remainders of the 16 values of four bits, by the polynomial 0x1EDC6F41 with its bits reversed.
    static const uint32_t remainders[16] = {
        0x00000000, 0x105EC76F, 0x20BD8EDE, 0x30E349B1, 0x417B1DBC, 0x5125DAD3, 0x61C69362, 0x7198540D,
        0x82F63B78, 0x92A8FC17, 0xA24BB5A6, 0xB21572C9, 0xC38D26C4, 0xD3D3E1AB, 0xE330A81A, 0xF36E6F75,
    };
    const uint8_t *next = bytes;
    crc = ~crc;
    for (; count > 0; count--) {
        crc ^= *next++;
        crc = crc >> 4 ^ remainders[crc & 15];
        crc = crc >> 4 ^ remainders[crc & 15];
    }
    return ~crc;
}

#if defined(__x86_64__)
#include <cpuid.h>
#include <nmmintrin.h>
#define INSTRUCTION_TARGET __attribute__((target("sse4.2")))
#define CRC_OF_EIGHT(crc, value) ((uint32_t)_mm_crc32_u64(crc, value))
#define CRC_OF_ONE(crc, value) _mm_crc32_u8(crc, value)
static int has_instruction(void) {
    unsigned int a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_2);
}
#elif defined(__aarch64__)
#include <arm_acle.h>
#define INSTRUCTION_TARGET __attribute__((target("crc")))
#define CRC_OF_EIGHT(crc, value) __crc32cd(crc, value)
#define CRC_OF_ONE(crc, value) __crc32cb(crc, value)
#if defined(__linux__)
#include <sys/auxv.h>
static int has_instruction(void) { return getauxval(AT_HWCAP) & (1 << 7); } // HWCAP_CRC32
#else
static int has_instruction(void) { return 1; }
#endif
#endif

#if defined(INSTRUCTION_TARGET)
INSTRUCTION_TARGET static uint32_t extend_by_instruction(uint32_t crc, const void *bytes, size_t count) {
    const uint8_t *next = bytes;
    crc = ~crc;
    for (; count >= 8; count -= 8, next += 8) {
        uint64_t eight;
        memcpy(&eight, next, 8);
        crc = CRC_OF_EIGHT(crc, eight);
    }
    for (; count > 0; count--) crc = CRC_OF_ONE(crc, *next++);
    return ~crc;
}

static uint32_t (*extend)(uint32_t, const void *, size_t) = crc32c_extend_portable;

// Before `main`, so that no call has to ask the processor.
__attribute__((constructor)) static void choose(void) {
    if (has_instruction()) extend = extend_by_instruction;
}

uint32_t crc32c_extend(uint32_t crc, const void *bytes, size_t count) { return extend(crc, bytes, count); }
#else
uint32_t crc32c_extend(uint32_t crc, const void *bytes, size_t count) {
    return crc32c_extend_portable(crc, bytes, count);
}
#endif
