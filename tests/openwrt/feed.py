"""A feed with one package, and stand-ins for what its Makefile includes."""

import shutil

from lab import process
from lab.failure import expect
from lab.programs import ROOT

RULES_MK = """
INCLUDE_DIR:=$(TOPDIR)/include
INSTALL_BIN:=install -m0755
INSTALL_DIR:=install -d -m0755
INSTALL_DATA:=install -m0644
INSTALL_CONF:=install -m0600
"""
# BuildPackage takes over the fields, each an assignment.
PACKAGE_MK = """
define BuildPackage
  $(eval $(Package/$(1)))
  BUILT+=package:$(1)
endef
"""
RUST_PACKAGE_MK = """
RUST_ARCH_DEPENDS:=@(the architectures of Rust)
define RustBinPackage
  BUILT+=rust:$(1)
endef
define Build/Compile/Cargo
cargo install --features $(strip $(RUST_PKG_FEATURES)) at [$(1)] $(2)
endef
"""
SHOWN = ("PKG_NAME", "PKG_VERSION", "PKG_SOURCE", "PKG_SOURCE_URL", "PKG_LICENSE",
         "PKG_LICENSE_FILES", "PKG_BUILD_DEPENDS", "PKG_CONFIG_DEPENDS", "RUST_PKG_FEATURES",
         "CATEGORY", "DEPENDS", "USERID", "BUILT")
DRIVER = """
include Makefile
$(foreach name,%s,$(info $(name)=$(strip $($(name)))))
$(info COMPILE=$(strip $(Build/Compile)))
$(info CONFFILES=$(strip $(Package/socku/conffiles)))
nothing:
stage:
\t$(call Package/socku/install,$(STAGE))
.PHONY: nothing stage
""" % " ".join(SHOWN)


class Feed:
    """The package as a directory of a feed."""

    def __init__(self, directory, package):
        self._directory = directory
        self._package = directory / "feed/net/socku"
        shutil.copytree(package, self._package)
        for name, text in {"top/rules.mk": RULES_MK, "top/include/package.mk": PACKAGE_MK,
                           "feed/lang/rust/rust-package.mk": RUST_PACKAGE_MK,
                           "feed/net/socku/driver.mk": DRIVER}.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(text)

    def _make(self, *arguments):
        done = process.run(["make", "--no-print-directory", "--directory", self._package,
                            "--file", "driver.mk", f"TOPDIR={self._directory}/top", *arguments])
        expect(done.returncode == 0 and not done.stderr, done.stderr.decode())
        return done.stdout.decode()

    def variables(self, *given):
        """The variables of the package, with some of them given."""
        text = self._make("nothing", *given)
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def install(self, program):
        """Runs the install rule, for this program and the source of this repository; where to."""
        place, stage = self._directory / "installed/bin", self._directory / "stage"
        place.mkdir(parents=True)
        shutil.copy(program, place / "socku")
        self._make("stage", f"STAGE={stage}", f"PKG_INSTALL_DIR={place.parent}",
                   f"PKG_BUILD_DIR={ROOT}")
        return stage
