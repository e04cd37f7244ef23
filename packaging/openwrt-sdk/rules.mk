# SPDX-License-Identifier: MIT
# Stands in for OpenWrt's build system, so that scripts/package takes names, metadata and files from openwrt/Makefile and nowhere else.
# The same words, with the meaning they have there; nothing is compiled.

INCLUDE_DIR:=$(TOPDIR)/include

INSTALL_BIN:=install -m0755
INSTALL_DIR:=install -d -m0755
INSTALL_DATA:=install -m0644
INSTALL_CONF:=install -m0600
CP:=cp -fpR
LN:=ln -sf
