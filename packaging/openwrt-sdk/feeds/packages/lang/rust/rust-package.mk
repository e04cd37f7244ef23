# SPDX-License-Identifier: MIT

RUST_ARCH_DEPENDS:=@(aarch64||arm||i386||i686||mips||mipsel||mips64||mips64el||mipsel||powerpc||powerpc64||riscv64||x86_64)
