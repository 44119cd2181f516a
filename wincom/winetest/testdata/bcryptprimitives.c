/*
 * bcryptprimitives.dll for a Wine that has none (before 9): the one function that Go's runtime takes random numbers
 * from, made of the one that advapi32 has had for ever. It must lie in system32, as Go loads it from nowhere else.
 */
#include <windows.h>

BOOLEAN WINAPI SystemFunction036(PVOID, ULONG); /* RtlGenRandom */

#define MOST 0x10000000 /* bytes asked for at once: the length there is a ULONG, here a SIZE_T */

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE p, SIZE_T n)
{
	while (n) {
		ULONG k = n > MOST ? MOST : (ULONG)n;
		if (!SystemFunction036(p, k))
			return FALSE;
		p += k;
		n -= k;
	}
	return TRUE;
}

BOOL WINAPI DllMainCRTStartup(HINSTANCE h, DWORD reason, LPVOID x)
{
	return TRUE;
}
