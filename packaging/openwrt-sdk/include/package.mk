# SPDX-License-Identifier: MIT
# Handed in: ROOT, where the package's files are put; META, where its metadata is put, one file for each name; PKG_INSTALL_DIR, where
# the build left bin/ipopd.

VERSION=$(PKG_VERSION)-r$(PKG_RELEASE)

# Each word with a plus is a package; what begins with @ is about the target.
depends=$(patsubst +%,%,$(filter +%,$(DEPENDS)))

# write NAME,TEXT
write=$(file >$(META)/$(1),$(2))

define BuildPackage
$(Package/$(1))

.PHONY: package
package:
	$$(call write,name,$(1))
	$$(call write,version,$$(VERSION))
	$$(call write,depends,$$(depends))
	$$(call write,section,$$(SECTION))
	$$(call write,title,$$(TITLE))
	$$(call write,license,$$(PKG_LICENSE))
	$$(call write,license-files,$$(PKG_LICENSE_FILES))
	$$(call write,maintainer,$$(PKG_MAINTAINER))
	$$(call write,description,$$(Package/$(1)/description))
	$$(call write,conffiles,$$(Package/$(1)/conffiles))
	$$(foreach script,preinst postinst prerm postrm,$$(if $$(Package/$(1)/$$(script)),$$(error $$(script) is not supported yet)))
	$$(call Package/$(1)/install,$$(ROOT))
endef
