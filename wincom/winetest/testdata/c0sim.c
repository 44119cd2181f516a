/* c0sim: independent, minimal stand-in for a com0com port pair, for tests under Wine only. */
#include <ntddk.h>
#include <ntddser.h>
#define N 4096
typedef struct P {
  struct P *peer; PDEVICE_OBJECT dev; BOOLEAN open, brk; ULONG opens;
  ULONG baud; SERIAL_LINE_CONTROL lc; SERIAL_HANDFLOW hf; SERIAL_CHARS ch; SERIAL_TIMEOUTS to;
  ULONG wmask, emask, ins, errors, pin[4]; UCHAR esc, mcr, msr;
  UCHAR *buf; ULONG size, head, cnt;
  LIST_ENTRY rd, wr, wt; KTIMER tm; KDPC dpc; UNICODE_STRING link;
} P;
static P port[2]; static KSPIN_LOCK lk; static UCHAR mem[2][1<<20];
static const UCHAR MS[4] = {0x10,0x20,0x80,0x40};           /* cts dsr dcd ri */
static void fin(PIRP i, NTSTATUS s, ULONG_PTR n, PLIST_ENTRY q){ i->IoStatus.Status=s; i->IoStatus.Information=n; InsertTailList(q,&i->Tail.Overlay.ListEntry); }
static void flush(PLIST_ENTRY q){ while(!IsListEmpty(q)){ PLIST_ENTRY e=RemoveHeadList(q); PIRP i=CONTAINING_RECORD(e,IRP,Tail.Overlay.ListEntry); IoCompleteRequest(i,IO_SERIAL_INCREMENT);} }
static PIRP first(PLIST_ENTRY l){ while(!IsListEmpty(l)){ PIRP i=CONTAINING_RECORD(l->Flink,IRP,Tail.Overlay.ListEntry); if(!i->Cancel) return i; return NULL;} return NULL; }
static BOOLEAN take(PIRP i){ if(!IoSetCancelRoutine(i,NULL)) return FALSE; RemoveEntryList(&i->Tail.Overlay.ListEntry); return TRUE; }
static VOID NTAPI oncancel(PDEVICE_OBJECT d, PIRP i){ KIRQL k; IoReleaseCancelSpinLock(i->CancelIrql); KeAcquireSpinLock(&lk,&k); RemoveEntryList(&i->Tail.Overlay.ListEntry); KeReleaseSpinLock(&lk,k); i->IoStatus.Status=STATUS_CANCELLED; i->IoStatus.Information=0; IoCompleteRequest(i,IO_NO_INCREMENT); }
static BOOLEAN pend(PIRP i, PLIST_ENTRY l){ IoMarkIrpPending(i); InsertTailList(l,&i->Tail.Overlay.ListEntry); IoSetCancelRoutine(i,oncancel); if(i->Cancel && IoSetCancelRoutine(i,NULL)){ RemoveEntryList(&i->Tail.Overlay.ListEntry); return FALSE;} return TRUE; }
static void put1(P*p, UCHAR c){ if(p->cnt<p->size+64 && p->cnt<sizeof mem[0]){ p->buf[(p->head+p->cnt)%sizeof mem[0]]=c; p->cnt++; } }
static void event(P*p, ULONG ev, PLIST_ENTRY q){ PIRP i; p->emask|=ev&p->wmask; if(p->emask && (i=first(&p->wt)) && take(i)){ *(PULONG)i->AssociatedIrp.SystemBuffer=p->emask; p->emask=0; fin(i,0,4,q);} }
static BOOLEAN anybyte(P*p){ return p->to.ReadIntervalTimeout!=0; }
static void pumpr(P*p, PLIST_ENTRY q){ PIRP i; while(p->cnt && (i=first(&p->rd))){ PIO_STACK_LOCATION s=IoGetCurrentIrpStackLocation(i); ULONG n=s->Parameters.Read.Length, have=(ULONG)i->IoStatus.Information; UCHAR*b=i->AssociatedIrp.SystemBuffer;
    while(have<n && p->cnt){ b[have++]=p->buf[p->head]; p->head=(p->head+1)%sizeof mem[0]; p->cnt--; } i->IoStatus.Information=have;
    if(have==n||anybyte(p)){ if(!take(i)) break; KeCancelTimer(&p->tm); fin(i,0,have,q);} else break; } }
static UCHAR wl(P*p){ static const UCHAR m[]={0x1f,0x3f,0x7f,0xff}; UCHAR a=p->lc.WordLength,b=p->peer->lc.WordLength; if(b<a)a=b; return m[a-5]; }
static void pumpw(P*p, PLIST_ENTRY q){ PIRP i; P*d=p->peer; while((i=first(&p->wr))){ PIO_STACK_LOCATION s=IoGetCurrentIrpStackLocation(i); ULONG n=s->Parameters.Write.Length, done=(ULONG)i->IoStatus.Information; UCHAR*b=i->AssociatedIrp.SystemBuffer; ULONG got=0;
    while(done<n && d->open && d->cnt<d->size){ UCHAR c=b[done++]&wl(p); got++; put1(d,c); if(d->esc && c==d->esc) put1(d,0); } i->IoStatus.Information=done;
    if(got){ pumpr(d,q); event(d,SERIAL_EV_RXCHAR,q);} if(done<n){ if(d->open && d->cnt<d->size) continue; break;} if(!take(i)) break; fin(i,0,n,q); event(p,SERIAL_EV_TXEMPTY,q);} }
static void rec(P*p, const UCHAR*b, ULONG n, PLIST_ENTRY q){ ULONG i; for(i=0;i<n;i++) put1(p,b[i]); pumpr(p,q); }
static UCHAR src(P*p, ULONG pin){ UCHAR v; if(pin&0x10000000) v=1; else v=((pin&0xff)&p->peer->mcr)||(((pin>>8)&0xff)&p->mcr); return (pin&0x80000000)?!v:v; }
static void remsr(P*p, PLIST_ENTRY q){ UCHAR m=0,c; int i; for(i=0;i<4;i++) if(src(p,p->pin[i])) m|=MS[i]; c=m^p->msr; if(!c) return; p->msr=m; if(p->esc&&(p->ins&2)){ UCHAR r[3]={p->esc,3,(UCHAR)(m|(c>>4))}; rec(p,r,3,q);} 
  event(p,((c&0x10)?SERIAL_EV_CTS:0)|((c&0x20)?SERIAL_EV_DSR:0)|((c&0x80)?SERIAL_EV_RLSD:0)|((c&0x40)?SERIAL_EV_RING:0),q); }
static void setmcr(P*p, UCHAR v, UCHAR mask, PLIST_ENTRY q){ UCHAR o=p->mcr; p->mcr=(o&~mask)|(v&mask); if(o!=p->mcr){ remsr(p->peer,q); remsr(p,q);} }
static void setbrk(P*p, BOOLEAN on, PLIST_ENTRY q){ P*d=p->peer; if(on==p->brk) return; p->brk=on; if(!d->open) return;
  if(on){ d->errors|=SERIAL_ERROR_BREAK; if(d->esc&&(d->ins&0x401)){ UCHAR r[4]={d->esc,1,0xf9,0}; rec(d,r,4,q);} else { UCHAR z=0; rec(d,&z,1,q);} event(d,SERIAL_EV_BREAK|SERIAL_EV_ERR,q); }
  else if(d->esc&&(d->ins&0x400)){ UCHAR r[3]={d->esc,2,0x60}; rec(d,r,3,q);} }
static VOID NTAPI ontimer(PKDPC x, PVOID ctx, PVOID a, PVOID b){ P*p=ctx; KIRQL k; LIST_ENTRY q; PIRP i; InitializeListHead(&q); KeAcquireSpinLock(&lk,&k); if((i=first(&p->rd))&&take(i)) fin(i,STATUS_TIMEOUT,i->IoStatus.Information,&q); KeReleaseSpinLock(&lk,k); flush(&q); }
static P*get(PDEVICE_OBJECT d){ return d==port[0].dev?&port[0]:&port[1]; }
static NTSTATUS ret(PIRP i, NTSTATUS s, ULONG_PTR n){ i->IoStatus.Status=s; i->IoStatus.Information=n; IoCompleteRequest(i,IO_NO_INCREMENT); return s; }
static NTSTATUS NTAPI disp(PDEVICE_OBJECT d, PIRP i){
  P*p=get(d),*r=p->peer; PIO_STACK_LOCATION s=IoGetCurrentIrpStackLocation(i); KIRQL k; LIST_ENTRY q; NTSTATUS st=0; ULONG n=0; UCHAR*b=i->AssociatedIrp.SystemBuffer; ULONG in,out; BOOLEAN pending=FALSE;
  InitializeListHead(&q); KeAcquireSpinLock(&lk,&k);
  switch(s->MajorFunction){
  case IRP_MJ_CREATE: if(p->open){ st=STATUS_ACCESS_DENIED; break;} p->open=TRUE; p->size=N; p->head=p->cnt=0; p->wmask=p->emask=p->errors=0; setmcr(p,((p->hf.ControlHandShake&3)?1:0)|((p->hf.FlowReplace&0xc0)?2:0),3,&q); setmcr(p,0x80,0x80,&q); pumpw(r,&q); break;
  case IRP_MJ_CLEANUP: { PLIST_ENTRY l[3]={&p->rd,&p->wr,&p->wt}; int j; for(j=0;j<3;j++) while(!IsListEmpty(l[j])){ PIRP x=CONTAINING_RECORD(l[j]->Flink,IRP,Tail.Overlay.ListEntry); if(!take(x)) break; fin(x,STATUS_CANCELLED,0,&q);} KeCancelTimer(&p->tm); } break;
  case IRP_MJ_CLOSE: p->open=FALSE; p->esc=0; p->cnt=0; setmcr(p,8,0xff,&q); setbrk(p,FALSE,&q); break;
  case IRP_MJ_FLUSH_BUFFERS: break;
  case IRP_MJ_READ: if(!s->Parameters.Read.Length) break; i->IoStatus.Information=0;
    { SERIAL_TIMEOUTS t=p->to; LARGE_INTEGER due; LONGLONG ms=-1; pending=TRUE; 
      if(t.ReadIntervalTimeout==~0u && !t.ReadTotalTimeoutMultiplier && !t.ReadTotalTimeoutConstant) ms=0; else if(t.ReadIntervalTimeout==~0u && t.ReadTotalTimeoutMultiplier==~0u){ if(t.ReadTotalTimeoutConstant!=~0u) ms=t.ReadTotalTimeoutConstant; } else if(t.ReadTotalTimeoutMultiplier||t.ReadTotalTimeoutConstant) ms=(LONGLONG)t.ReadTotalTimeoutMultiplier*s->Parameters.Read.Length+t.ReadTotalTimeoutConstant;
      if(!pend(i,&p->rd)){ fin(i,STATUS_CANCELLED,0,&q); break;} pumpr(p,&q); if(!IsListEmpty(&p->rd)&&first(&p->rd)==i){ if(ms==0){ if(take(i)) fin(i,STATUS_SUCCESS,i->IoStatus.Information,&q);} else if(ms>0){ due.QuadPart=-ms*10000; KeSetTimer(&p->tm,due,&p->dpc);} } pumpw(r,&q); }
    break;
  case IRP_MJ_WRITE: i->IoStatus.Information=0; pending=TRUE; if(!pend(i,&p->wr)) fin(i,STATUS_CANCELLED,0,&q); else pumpw(p,&q); break;
  case IRP_MJ_DEVICE_CONTROL: in=s->Parameters.DeviceIoControl.InputBufferLength; out=s->Parameters.DeviceIoControl.OutputBufferLength;
#undef IN
#undef OUT
#define IN(T) if(in<sizeof(T)){st=STATUS_BUFFER_TOO_SMALL;break;}
#define OUT(T,v) { T t_=(v); if(out<sizeof(T)){st=STATUS_BUFFER_TOO_SMALL;break;} RtlCopyMemory(b,&t_,sizeof t_); n=sizeof t_; }
    switch(s->Parameters.DeviceIoControl.IoControlCode){
    case IOCTL_SERIAL_SET_BAUD_RATE: IN(ULONG) if(p->baud!=*(ULONG*)b){ p->baud=*(ULONG*)b; if(r->esc&&(r->ins&0x100)){ UCHAR x[6]={r->esc,16}; RtlCopyMemory(x+2,b,4); rec(r,x,6,&q);} } break;
    case IOCTL_SERIAL_GET_BAUD_RATE: OUT(ULONG,p->baud) break;
    case IOCTL_SERIAL_SET_LINE_CONTROL: { SERIAL_LINE_CONTROL l; IN(l) l=*(SERIAL_LINE_CONTROL*)b; if(l.WordLength<5||l.WordLength>8||l.Parity>4||l.StopBits>2){st=STATUS_INVALID_PARAMETER;break;} if(RtlCompareMemory(&l,&p->lc,3)!=3){ p->lc=l; if(r->esc&&(r->ins&0x200)){ UCHAR x[5]={r->esc,17,l.WordLength,l.Parity,l.StopBits}; rec(r,x,5,&q);} } } break;
    case IOCTL_SERIAL_GET_LINE_CONTROL: OUT(SERIAL_LINE_CONTROL,p->lc) break;
    case IOCTL_SERIAL_SET_TIMEOUTS: IN(SERIAL_TIMEOUTS) p->to=*(SERIAL_TIMEOUTS*)b; break;
    case IOCTL_SERIAL_GET_TIMEOUTS: OUT(SERIAL_TIMEOUTS,p->to) break;
    case IOCTL_SERIAL_SET_CHARS: IN(SERIAL_CHARS) p->ch=*(SERIAL_CHARS*)b; break;
    case IOCTL_SERIAL_GET_CHARS: OUT(SERIAL_CHARS,p->ch) break;
    case IOCTL_SERIAL_SET_HANDFLOW: { SERIAL_HANDFLOW*h=(void*)b; IN(SERIAL_HANDFLOW) if(p->esc&&(h->FlowReplace&SERIAL_ERROR_CHAR)){st=STATUS_INVALID_PARAMETER;break;} p->hf=*h; setmcr(p,((h->ControlHandShake&3)?1:0)|((h->FlowReplace&0xc0)?2:0),3,&q);} break;
    case IOCTL_SERIAL_GET_HANDFLOW: OUT(SERIAL_HANDFLOW,p->hf) break;
    case IOCTL_SERIAL_SET_QUEUE_SIZE: { SERIAL_QUEUE_SIZE z; IN(z) z=*(SERIAL_QUEUE_SIZE*)b; if(z.InSize>p->size && z.InSize<(1u<<20)-64) p->size=z.InSize; pumpw(r,&q);} break;
    case IOCTL_SERIAL_SET_WAIT_MASK: { PIRP w; IN(ULONG) p->wmask=*(ULONG*)b; p->emask&=p->wmask; while((w=first(&p->wt))&&take(w)){ *(PULONG)w->AssociatedIrp.SystemBuffer=0; fin(w,0,4,&q);} } break;
    case IOCTL_SERIAL_GET_WAIT_MASK: OUT(ULONG,p->wmask) break;
    case IOCTL_SERIAL_WAIT_ON_MASK: if(out<4){st=STATUS_BUFFER_TOO_SMALL;break;} if(!p->wmask||!IsListEmpty(&p->wt)){st=STATUS_INVALID_PARAMETER;break;} if(p->emask){ *(ULONG*)b=p->emask; p->emask=0; n=4; } else { pending=TRUE; if(!pend(i,&p->wt)) fin(i,STATUS_CANCELLED,0,&q);} break;
    case IOCTL_SERIAL_SET_DTR: setmcr(p,1,1,&q); break; case IOCTL_SERIAL_CLR_DTR: setmcr(p,0,1,&q); break;
    case IOCTL_SERIAL_SET_RTS: setmcr(p,2,2,&q); break; case IOCTL_SERIAL_CLR_RTS: setmcr(p,0,2,&q); break;
    case IOCTL_SERIAL_GET_DTRRTS: OUT(ULONG,p->mcr&3u) break;
    case IOCTL_SERIAL_GET_MODEM_CONTROL: OUT(ULONG,p->mcr&0x7fu) break;
    case IOCTL_SERIAL_SET_MODEM_CONTROL: IN(ULONG) { UCHAR mask=0x7f; if(in>=12&&b[8]=='c'&&b[9]=='0'&&b[10]=='c'&&!b[11]) mask&=b[4]; setmcr(p,b[0],mask,&q);} break;
    case IOCTL_SERIAL_GET_MODEMSTATUS: OUT(ULONG,p->msr) break;
    case IOCTL_SERIAL_SET_BREAK_ON: setbrk(p,TRUE,&q); break; case IOCTL_SERIAL_SET_BREAK_OFF: setbrk(p,FALSE,&q); break;
    case IOCTL_SERIAL_PURGE: IN(ULONG) { ULONG f=*(ULONG*)b; PIRP x; if(f&SERIAL_PURGE_RXABORT) while((x=first(&p->rd))&&take(x)) fin(x,STATUS_CANCELLED,0,&q); if(f&SERIAL_PURGE_TXABORT) while((x=first(&p->wr))&&take(x)) fin(x,STATUS_CANCELLED,0,&q); if(f&SERIAL_PURGE_RXCLEAR){ p->cnt=0; pumpw(r,&q);} } break;
    case IOCTL_SERIAL_GET_COMMSTATUS: { SERIAL_STATUS t; RtlZeroMemory(&t,sizeof t); t.AmountInInQueue=p->cnt; t.Errors=p->errors; p->errors=0; OUT(SERIAL_STATUS,t) } break;
    case IOCTL_SERIAL_GET_PROPERTIES: { SERIAL_COMMPROP t; RtlZeroMemory(&t,sizeof t); t.PacketLength=sizeof t; t.PacketVersion=2; t.ServiceMask=1; t.MaxBaud=0x10000000; t.ProvSubType=1; t.ProvCapabilities=0xff; t.SettableParams=0x7f; t.SettableBaud=0x1007ffff; t.SettableData=15; t.SettableStopParity=0x1f07; t.CurrentRxQueue=p->size; OUT(SERIAL_COMMPROP,t) } break;
    case IOCTL_SERIAL_LSRMST_INSERT: { ULONG o=3; UCHAR esc; BOOLEAN ext=FALSE; UCHAR*w=b; if(in<1){st=STATUS_BUFFER_TOO_SMALL;break;} esc=b[0];
      if(in>=9&&b[1]=='c'&&b[2]=='0'&&b[3]=='c'&&!b[4]){ ext=TRUE; RtlCopyMemory(&o,b+5,4); if(o==~0u){ static const UCHAR c[8]={'c','0','c',0,3,7,0,3}; o=0; if(out<8){st=STATUS_BUFFER_TOO_SMALL;break;} RtlCopyMemory(b,c,8); n=8; }
        else { if(o&~0x03000703u){st=STATUS_INVALID_PARAMETER;break;} if(o&0x01000000) n=((o&0x401)?3:0)+((o&2)?3:0)+((o&0x100)?6:0)+((o&0x200)?5:0); if(out<n){n=0;st=STATUS_BUFFER_TOO_SMALL;break;} } }
      if(esc&&(esc==p->ch.XonChar||esc==p->ch.XoffChar||(p->hf.FlowReplace&SERIAL_ERROR_CHAR))){n=0;st=STATUS_INVALID_PARAMETER;break;}
      p->esc=esc; p->ins=o&0x703;
      if(ext&&(o&0x01000000)){ if(o&0x401){ *w++=esc;*w++=2;*w++=0x60|((o&0x400)&&r->brk?0x10:0);} if(o&2){*w++=esc;*w++=3;*w++=p->msr;} if(o&0x100){*w++=esc;*w++=16;RtlCopyMemory(w,&r->baud,4);w+=4;} if(o&0x200){*w++=esc;*w++=17;*w++=r->lc.WordLength;*w++=r->lc.Parity;*w++=r->lc.StopBits;} }
      if(ext&&(o&0x02000000)){ p->cnt=0; pumpw(r,&q);} } break;
    case IOCTL_SERIAL_SET_XON: case IOCTL_SERIAL_SET_XOFF: case IOCTL_SERIAL_CLEAR_STATS: break;
    default: st=STATUS_INVALID_PARAMETER; }
    break;
  default: st=STATUS_INVALID_DEVICE_REQUEST; }
  KeReleaseSpinLock(&lk,k); flush(&q);
  if(pending) return STATUS_PENDING; return ret(i,st,st?0:n);
}
static void cfg(PUNICODE_STRING reg, P*p, const WCHAR*sub){ (void)reg;(void)p;(void)sub; }
static VOID NTAPI unload(PDRIVER_OBJECT o){ int j; for(j=0;j<2;j++){ IoDeleteSymbolicLink(&port[j].link); IoDeleteDevice(port[j].dev);} }
NTSTATUS NTAPI DriverEntry(PDRIVER_OBJECT o, PUNICODE_STRING reg){
  static const WCHAR*dn[2]={L"\\Device\\com0com10",L"\\Device\\com0com20"},*ln[2]={L"\\DosDevices\\COM9",L"\\DosDevices\\CNCB0"}; int j; NTSTATUS st; UNICODE_STRING u;
  KeInitializeSpinLock(&lk); for(j=0;j<IRP_MJ_MAXIMUM_FUNCTION;j++) o->MajorFunction[j]=disp; o->DriverUnload=unload;
  for(j=0;j<2;j++){ P*p=&port[j]; p->peer=&port[1-j]; p->buf=mem[j]; p->size=N; InitializeListHead(&p->rd); InitializeListHead(&p->wr); InitializeListHead(&p->wt); KeInitializeTimer(&p->tm); KeInitializeDpc(&p->dpc,ontimer,p);
    p->baud=1200; p->lc.WordLength=7; p->lc.Parity=2; p->ch.XonChar=0x11; p->ch.XoffChar=0x13; p->hf.ControlHandShake=1; p->hf.FlowReplace=0x40; p->mcr=8;
    p->pin[0]=1<<1>>0; p->pin[0]=2; p->pin[1]=1; p->pin[2]=j?0x80:4; p->pin[3]=j?0x90000000u:0x80000008u; }
  for(j=0;j<2;j++){ P*p=&port[j]; RtlInitUnicodeString(&u,dn[j]); RtlInitUnicodeString(&p->link,ln[j]); if((st=IoCreateDevice(o,0,&u,FILE_DEVICE_SERIAL_PORT,0,FALSE,&p->dev))) return st; p->dev->Flags|=DO_BUFFERED_IO; IoCreateSymbolicLink(&p->link,&u); RtlWriteRegistryValue(RTL_REGISTRY_DEVICEMAP,L"SERIALCOMM",dn[j],REG_SZ,(PVOID)(ln[j]+12),(ULONG)(wcslen(ln[j]+12)+1)*2); p->dev->Flags&=~DO_DEVICE_INITIALIZING; }
  { LIST_ENTRY q; InitializeListHead(&q); remsr(&port[0],&q); remsr(&port[1],&q);} return 0; }
