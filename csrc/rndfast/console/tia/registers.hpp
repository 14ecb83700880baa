// SPDX-License-Identifier: MIT
#pragma once

namespace rndfast::tia {

/// Registers by their datasheet names: of writes, and of reads.
enum WriteRegister : unsigned {
  VSYNC,
  VBLANK,
  WSYNC,
  RSYNC,
  NUSIZ0,
  NUSIZ1,
  COLUP0,
  COLUP1,
  COLUPF,
  COLUBK,
  CTRLPF,
  REFP0,
  REFP1,
  PF0,
  PF1,
  PF2,
  RESP0,
  RESP1,
  RESM0,
  RESM1,
  RESBL,
  AUDC0,
  AUDC1,
  AUDF0,
  AUDF1,
  AUDV0,
  AUDV1,
  GRP0,
  GRP1,
  ENAM0,
  ENAM1,
  ENABL,
  HMP0,
  HMP1,
  HMM0,
  HMM1,
  HMBL,
  VDELP0,
  VDELP1,
  VDELBL,
  RESMP0,
  RESMP1,
  HMOVE,
  HMCLR,
  CXCLR
};
enum ReadRegister : unsigned {
  CXM0P,
  CXM1P,
  CXP0FB,
  CXP1FB,
  CXM0FB,
  CXM1FB,
  CXBLPF,
  CXPPMM,
  INPT0,
  INPT1,
  INPT2,
  INPT3,
  INPT4,
  INPT5
};

/// Bits of CTRLPF, besides the ball's width in bits 4 and 5.
enum CtrlpfBits : unsigned { kReflect = 1, kScore = 2, kPriority = 4 };

}  // namespace rndfast::tia
