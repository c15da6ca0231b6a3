#ifndef GODWIT_CRC32C_H
#define GODWIT_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/// CRC-32C (Castagnoli) of `count` bytes, continued from `crc`, which is 0 at the start. Uses the processor's instruction
/// if there is one.
uint32_t crc32c_extend(uint32_t crc, const void *bytes, size_t count);

/// The same without the processor's instruction.
uint32_t crc32c_extend_portable(uint32_t crc, const void *bytes, size_t count);

#endif
